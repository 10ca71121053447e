import { z } from 'zod';
import type { PruningRule } from './rule.js';

const options = z.strictObject({
  kind: z.literal('threshold'),
  least: z
    .number()
    .min(0)
    .max(1)
    .default(0.15)
    .describe('Experts of a smaller gate weight are skipped, the first of a token too.'),
});

type Options = z.output<typeof options>;

/** Skips experts whose gate weight, as recorded, is below a threshold (SimBal, arXiv 2506.14038, its pruning at inference). */
export const thresholdPruning: PruningRule<Options, z.input<typeof options>> = {
  kind: 'threshold',
  summary: 'experts whose gate weight is below a threshold (SimBal)',
  options,
  calibrationShare: () => 0,
  notes: () => [
    'pruning: a threshold means what the gate weights mean: of a softmax over all experts, or over the chosen ones alone',
  ],
  start({ least }, topK) {
    return {
      keep({ count, weights }, _layer, _random, kept) {
        for (let copy = 0; copy < count * topK; copy++) kept[copy] = weights[copy] >= least ? 1 : 0;
      },
    };
  },
};
