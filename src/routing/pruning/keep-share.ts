import { quickselect } from 'd3-array';
import { z } from 'zod';
import { firstChoice, type PruningRule } from './rule.js';

const options = z.strictObject({
  kind: z.literal('keep-share'),
  share: z
    .number()
    .gt(0)
    .max(1)
    .default(0.8)
    .describe('Share of a layer’s copies that are kept, mean over tokens.'),
});

type Options = z.output<typeof options>;

/**
 * Keeps a share of a layer's copies: every token's first, and of the others those with the largest part of their token's
 * gate weight, as many for each token as that gives. What a learned mask router keeps (OTP of MC#, arXiv 2510.10962)
 * follows from training; this keeps as much, by gate weight.
 */
export const keepSharePruning: PruningRule<Options, z.input<typeof options>> = {
  kind: 'keep-share',
  summary: 'all but a share of the copies, those of the smallest gate weights (as OTP keeps)',
  options,
  calibrationShare: () => 0,
  notes: ({ share }) => [
    `pruning: ${(100 * share).toFixed(0)} % of the copies are kept by gate weight, where OTP's learned masks choose them`,
  ],
  start({ share }, topK) {
    if (share * topK < 1) {
      const least = Math.ceil(1000 / topK) / 1000;
      throw new RangeError(
        `share: found ${share} of ${topK} experts, allowed: at least ${least}, one for every token`,
      );
    }
    return {
      keep(tokens, _layer, _random, kept) {
        const { count, weights } = tokens;
        kept.fill(0, 0, count * topK);
        const parts = new Float64Array(count * topK);
        const others: number[] = [];
        for (let token = 0; token < count; token++) {
          let sum = 0;
          for (let copy = token * topK; copy < (token + 1) * topK; copy++) sum += weights[copy];
          const first = firstChoice(tokens, token);
          kept[first] = 1;
          for (let copy = token * topK; copy < (token + 1) * topK; copy++) {
            parts[copy] = sum > 0 ? weights[copy] / sum : 0;
            if (copy !== first) others.push(parts[copy]);
          }
        }
        let open = Math.round(share * count * topK) - count;
        if (open <= 0) return;
        const out = others.length - open;
        let edge = -Infinity;
        if (out > 0) {
          quickselect(others, out - 1);
          edge = others[out - 1];
        }
        // Above the edge all are kept; at the edge the first, as many as there is room for.
        const keepAt = (fits: (part: number) => boolean) => {
          for (let copy = 0; copy < count * topK && open > 0; copy++) {
            if (kept[copy] || !fits(parts[copy])) continue;
            kept[copy] = 1;
            open--;
          }
        };
        keepAt((part) => part > edge);
        keepAt((part) => part === edge);
      },
    };
  },
};
