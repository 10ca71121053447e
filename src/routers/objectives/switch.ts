import { z } from 'zod';
import type { Pass } from '../mixture.js';
import { taskOnly, type Objective } from './objective.js';

const options = z.strictObject({
  kind: z.literal('switch'),
  alpha: z.number().min(0).default(0.01).describe('Weight of the loss; public recipes use 0.001 to 0.01.'),
});

/**
 * α E Σ f_e P̄_e (Fedus et al., Switch Transformers, 2101.03961): f_e is the share of the copies (a constant), P̄_e the
 * mean probability. Gradient by the scores of token t: (α E / T) · p_e (f_e − Σ_j f_j p_j).
 */
export const switchLoss: Objective<z.infer<typeof options>> = {
  kind: 'switch',
  summary: 'load-balancing loss of Switch Transformers (LBL)',
  options,
  notSimulated: [],
  start: ({ alpha }, setting) => ({
    ...taskOnly(setting),
    add: (pass) => addLoadBalancing(pass, alpha),
  }),
};

/** Adds the loss's gradient to the pass; returns the loss. */
export function addLoadBalancing(pass: Pass, alpha: number): number {
  const { loads, probabilities, chosen, batch, scoresGradient } = pass;
  const experts = loads.length;
  const { tokens } = batch;
  const scale = (alpha * experts) / tokens;
  let loss = 0;
  for (let t = 0; t < tokens; t++) {
    const row = t * experts;
    let along = 0;
    for (let e = 0; e < experts; e++) along += (loads[e] / chosen.length) * probabilities[row + e];
    loss += scale * along;
    for (let e = 0; e < experts; e++) {
      scoresGradient[row + e] += scale * probabilities[row + e] * (loads[e] / chosen.length - along);
    }
  }
  return loss;
}
