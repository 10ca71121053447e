import { z } from 'zod';
import { scheduleFields, scheduleOf, type HistoryRule } from './estimator.js';

const options = z.strictObject({
  kind: z.literal('decay'),
  factor: z.number().gt(0).lt(1).default(0.9).describe('What is known is multiplied by this in every step.'),
  ...scheduleFields,
});

type Options = z.output<typeof options>;

/** Exponentially decayed loads: factor · known + new, as TensorRT-LLM keeps them. */
export const decay: HistoryRule<Options, z.input<typeof options>> = {
  kind: 'decay',
  summary: 'plan during the run, from loads that fade by a factor in every step',
  options,
  from: 'steps',
  movement: 'blocking',
  hypothetical: () => false,
  note: () => null,
  calibrationShare: () => 0,
  schedule: scheduleOf,
  sight: ({ phase, padding }) => ({ phase, padding }),
  start: ({ factor }, { layers, experts }) =>
    Array.from({ length: layers }, () => {
      const sum = new Float64Array(experts);
      return {
        add(loads) {
          for (let e = 0; e < experts; e++) sum[e] = factor * sum[e] + loads[e];
        },
        known: () => ({ sum, rows: [sum] }),
      };
    }),
};
