import { z } from 'zod';
import type { HistoryRule } from './estimator.js';

const options = z.strictObject({
  kind: z.literal('oracle'),
  interval: z
    .int()
    .min(1)
    .default(1)
    .describe('Steps between plans, each made for the loads of its own step.'),
});

type Options = z.output<typeof options>;

/**
 * The loads of the very batch that the placement is for. Nobody can know them in time: it shows what a placement
 * could do with perfect prediction, so that prediction error is told apart from the limits of the placement.
 */
export const oracle: HistoryRule<Options, z.input<typeof options>> = {
  kind: 'oracle',
  summary: 'plan for the very loads that come: a limit, and nothing to run',
  options,
  from: 'batch',
  movement: 'free',
  hypothetical: () => true,
  note: () => 'placements are planned for the loads of the very step; a limit, not a policy',
  calibrationShare: () => 0,
  schedule: ({ interval }) => ({ interval, first: 0, staleness: 0, skipAbove: null }),
  start: (_, { layers, experts }) =>
    Array.from({ length: layers }, () => {
      const sum = new Float64Array(experts);
      return { add: (loads) => sum.set(loads), known: () => ({ sum, rows: [sum] }) };
    }),
};
