import { z } from 'zod';
import { randomStream } from '../../routing/index.js';
import type { HistoryRule } from './estimator.js';

const options = z.strictObject({
  kind: z.literal('predicted'),
  error: z
    .number()
    .min(0)
    .max(1)
    .default(0.1)
    .describe('Share of every expert’s copies that the predictor gives to another expert.'),
  interval: z
    .int()
    .min(1)
    .default(1)
    .describe('Steps between plans, each made for the loads of its own step.'),
});

type Options = z.output<typeof options>;

/**
 * The loads of the very batch, seen by a predictor that errs: of every expert's copies it gives a share to one wrong
 * expert, drawn anew in every step. An approximation of predictors of a layer's routing from what comes before it
 * (PROBE, arXiv 2602.00509), of which no confusion of experts is published.
 */
export const predicted: HistoryRule<Options, z.input<typeof options>> = {
  kind: 'predicted',
  summary: 'plan for the loads that a predictor with a settable error sees coming (approximation)',
  options,
  from: 'batch',
  movement: 'prefetch',
  hypothetical: ({ error }) => error === 0,
  note: ({ error }) =>
    `approximation; placements are planned for loads predicted with error ${error}: that share of every expert's ` +
    'copies is taken for those of one wrong expert, drawn in every step; predicting takes no time',
  calibrationShare: () => 0,
  schedule: ({ interval }) => ({ interval, first: 0, staleness: 0, skipAbove: null }),
  start: ({ error }, { layers, experts, seed }) =>
    Array.from({ length: layers }, (_, layer) => {
      const sum = new Float64Array(experts);
      const draw = randomStream(seed, `predictor/${layer}`);
      return {
        add(loads) {
          sum.fill(0);
          for (let e = 0; e < experts; e++) {
            const wrong = experts > 1 ? (e + 1 + Math.floor(draw() * (experts - 1))) % experts : e;
            sum[e] += (1 - error) * loads[e];
            sum[wrong] += error * loads[e];
          }
        },
        known: () => ({ sum, rows: [sum] }),
      };
    }),
};
