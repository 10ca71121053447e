import { z } from 'zod';
import { gateOption, taskOnly, type Objective } from './objective.js';

const schedules = {
  /** (u / √n) · (L − A) / L */
  'proportional-sqrt': 0.05,
  /** (u / √n) · sign(L − A) */
  'sign-sqrt': 0.05,
  /** (u / n) · sign(L − A) */
  'sign-harmonic': 0.2,
} as const;
export type Schedule = keyof typeof schedules;

const scheduleNames = Object.keys(schedules) as [Schedule, ...Schedule[]];

const options = z.strictObject({
  kind: z.literal('alf-lb'),
  schedule: z
    .enum(scheduleNames)
    .default('sign-sqrt')
    .describe(
      'How the step falls with the number n of batches, and whether it looks at the error or its sign.',
    ),
  rate: z.number().min(0).optional().describe('First step u; default: 0.05, of sign-harmonic 0.2.'),
  gate: gateOption,
});

/**
 * Loss-free balancing as what it solves (Han and Zhong, 2512.03915): balanced routing is a linear assignment, the bias
 * its dual prices, an update a step of dual ascent, so that steps that fall let it settle where a fixed step swings.
 */
export const alfLb: Objective<z.infer<typeof options>> = {
  kind: 'alf-lb',
  summary: 'the same bias as prices of an assignment, with steps that fall (ALF-LB)',
  options,
  notSimulated: [
    'an expected regret that grows with the logarithm of the number of batches (arXiv 2512.03915)',
  ],
  start({ schedule, rate = schedules[schedule], gate }, setting) {
    const bias = new Float64Array(setting.experts);
    return {
      ...taskOnly(setting, gate),
      bias,
      update: (loads, step) => movePrices(bias, loads, schedule, rate, step),
    };
  },
};

/** Moves prices by what batch `step` (from 1) has loaded; only their differences mean anything, so their mean is 0. */
export function movePrices(
  prices: Float64Array,
  loads: ArrayLike<number>,
  schedule: Schedule,
  rate: number,
  step: number,
): void {
  const experts = prices.length;
  let total = 0;
  for (let e = 0; e < experts; e++) total += loads[e];
  const balanced = total / experts;
  const size = schedule === 'sign-harmonic' ? rate / step : rate / Math.sqrt(step);
  let mean = 0;
  for (let e = 0; e < experts; e++) {
    const error = balanced - loads[e];
    prices[e] += size * (schedule === 'proportional-sqrt' ? error / balanced : Math.sign(error));
    mean += prices[e] / experts;
  }
  for (let e = 0; e < experts; e++) prices[e] -= mean;
}

/**
 * Value of the dual at these prices: Σ_t (sum of the topK largest gate + price) − L Σ_e price_e. No balanced routing
 * has a larger sum of gates, whatever the prices.
 * @param gates [token · experts + expert]
 */
export function dualValue(gates: Float64Array, prices: Float64Array, topK: number): number {
  const experts = prices.length;
  const tokens = gates.length / experts;
  const sorted = new Float64Array(experts);
  let value = 0;
  for (let t = 0; t < tokens; t++) {
    for (let e = 0; e < experts; e++) sorted[e] = gates[t * experts + e] + prices[e];
    sorted.sort();
    for (let k = 1; k <= topK; k++) value += sorted[experts - k];
  }
  return value - ((tokens * topK) / experts) * prices.reduce((sum, price) => sum + price, 0);
}
