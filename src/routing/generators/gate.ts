import { randomNormal } from 'd3-random';
import { z } from 'zod';
import type { Random } from '../random.js';
import { CandidateTable } from '../candidates.js';
import { allTokens, popularityOptions, type Generator } from './generator.js';

const options = z.strictObject({
  kind: z.literal('gate'),
  popularity: z
    .number()
    .min(0)
    .max(20)
    .default(0.4)
    .describe('Standard deviation of the part of a logit that an expert has for all tokens.'),
  spread: z
    .number()
    .min(0)
    .max(20)
    .default(1)
    .describe('Standard deviation of the part that every token draws; small: a flat gate.'),
  perLayer: popularityOptions.perLayer,
  redraw: popularityOptions.redraw,
  tokens: z.literal(true).default(true).describe('A gate scores token by token.'),
  gateWeights: z.literal(true).default(true).describe('Scores of the chosen experts.'),
});

/**
 * A synthetic gate that scores every expert for every token: a softmax over normal logits, of which one part belongs to
 * the expert and one to the token. Tokens choose their best experts, and all scores are known to whoever wants to choose
 * others. Gate weights are scores of the softmax over all experts, not renormalised.
 */
export const gate: Generator<z.infer<typeof options>> = {
  kind: 'gate',
  summary: 'a synthetic gate with the scores of all experts, for what chooses among them',
  options,
  prepare({ popularity, spread }, setting) {
    const { experts, topK, routerGroups, topGroups } = setting;
    if (topGroups < routerGroups) {
      throw new RangeError(
        `kind: found gate for a router of ${routerGroups} groups, allowed: a model whose tokens may use all groups`,
      );
    }
    const common = new Float64Array(experts);
    const logits = new Float64Array(experts);
    const tokens = allTokens(setting);
    const draw = (
      random: Random,
      picks: Uint16Array,
      weights: Float32Array | null,
      candidates: CandidateTable,
    ) => {
      const normal = randomNormal.source(random)(0, spread);
      for (let token = 0; token < tokens; token++) {
        for (let e = 0; e < experts; e++) logits[e] = common[e] + normal();
        softmax(logits);
        candidates.rank(token, logits);
        for (let j = 0; j < topK; j++) {
          picks[token * topK + j] = candidates.experts[token * experts + j];
          if (weights) weights[token * topK + j] = candidates.scores[token * experts + j];
        }
      }
    };
    return {
      constant: false,
      redraw(random) {
        const normal = randomNormal.source(random)(0, popularity);
        for (let e = 0; e < experts; e++) common[e] = normal();
      },
      counts: null,
      tokens: (random, into) => draw(random, into, null, new CandidateTable(tokens, experts)),
      gates: draw,
    };
  },
};

/** Turns logits into scores that sum to 1. */
function softmax(values: Float64Array): void {
  const most = values.reduce((a, b) => Math.max(a, b), -Infinity);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] = Math.exp(values[i] - most);
  for (let i = 0; i < values.length; i++) values[i] /= sum;
}
