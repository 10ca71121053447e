import { median } from 'd3-array';
import { z } from 'zod';
import { firstChoice, type PruningRule, type WeightedTokens } from './rule.js';

const options = z.strictObject({
  kind: z.literal('ratio'),
  below: z
    .union([z.number().min(0).max(1), z.literal('median')])
    .default('median')
    .describe(
      'An expert is skipped where its gate weight over that of the token’s first is below this; median: of a layer’s ' +
        'ratios in the calibration part.',
    ),
  protect: z
    .number()
    .min(0)
    .max(1)
    .default(0.02)
    .describe(
      'Share of the tokens that keep all their experts. Which tokens matter is not known here: a draw.',
    ),
  calibrationShare: z
    .number()
    .gt(0)
    .lt(1)
    .default(0.1)
    .describe(
      'With below: median: share of a recording that the median is taken of, and that is not replayed.',
    ),
});

type Options = z.output<typeof options>;

/**
 * Skips experts whose gate weight is small beside the token's first (the online dynamic pruning of MC, arXiv 2410.06270,
 * §3.3, where top-2 models skip the second expert). MC protects the tokens with the largest |x|₁ times the attention
 * that they receive; routing does not hold that, so that as many tokens are drawn.
 */
export const ratioPruning: PruningRule<Options, z.input<typeof options>> = {
  kind: 'ratio',
  summary: 'experts with a small gate weight beside the first of the token (ODP)',
  options,
  calibrationShare: ({ below, calibrationShare }) => (below === 'median' ? calibrationShare : 0),
  notes: ({ protect }) =>
    protect === 0
      ? []
      : [
          `pruning: the ${(100 * protect).toPrecision(2)} % of tokens that keep all experts are drawn, since routing holds ` +
            'no importance of tokens',
        ],
  start({ below, protect }, topK, calibration) {
    if (topK === 1)
      throw new RangeError('kind: found ratio with one expert per token, allowed: a model with more');
    const limits = calibration.map((tokens) => (below === 'median' ? medianRatio(tokens) : below));
    return {
      keep(tokens, layer, random, kept) {
        const draw = protect > 0 ? random() : null;
        const limit = below === 'median' ? limits[layer] : below;
        for (let token = 0; token < tokens.count; token++) {
          const whole = draw !== null && draw() < protect;
          const first = firstChoice(tokens, token);
          const least = limit * tokens.weights[first];
          for (let copy = token * topK; copy < (token + 1) * topK; copy++) {
            kept[copy] = whole || copy === first || !(tokens.weights[copy] < least) ? 1 : 0;
          }
        }
      },
    };
  },
};

function medianRatio(tokens: WeightedTokens): number {
  const { count, topK, weights } = tokens;
  const ratios = new Float64Array(count * (topK - 1));
  let at = 0;
  for (let token = 0; token < count; token++) {
    const first = firstChoice(tokens, token);
    for (let copy = token * topK; copy < (token + 1) * topK; copy++) {
      if (copy !== first) ratios[at++] = weights[first] > 0 ? weights[copy] / weights[first] : 0;
    }
  }
  return median(ratios) ?? 0;
}
