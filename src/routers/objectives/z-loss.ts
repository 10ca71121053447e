import { z } from 'zod';
import { taskOnly, type Objective } from './objective.js';

const options = z.strictObject({
  kind: z.literal('z-loss'),
  coefficient: z.number().min(0).default(1e-3).describe('Weight of the loss.'),
});

/**
 * (c / T) Σ lse(s)² (Zoph et al., ST-MoE, 2202.08906) keeps scores small; gradient (2c / T) · lse · p_e. It is no
 * balancer, and is listed because many recipes have it.
 */
export const zLoss: Objective<z.infer<typeof options>> = {
  kind: 'z-loss',
  summary: 'small scores (ST-MoE); no balancer, though often used with one',
  options,
  notSimulated: [],
  start: ({ coefficient }, setting) => ({
    ...taskOnly(setting),
    add({ scores, probabilities, batch: { tokens }, scoresGradient }) {
      const { experts } = setting;
      let loss = 0;
      for (let t = 0; t < tokens; t++) {
        const row = t * experts;
        let largest = -Infinity;
        for (let e = 0; e < experts; e++) largest = Math.max(largest, scores[row + e]);
        let sum = 0;
        for (let e = 0; e < experts; e++) sum += Math.exp(scores[row + e] - largest);
        const logSum = largest + Math.log(sum);
        loss += (coefficient / tokens) * logSum ** 2;
        const scale = (2 * coefficient * logSum) / tokens;
        for (let e = 0; e < experts; e++) scoresGradient[row + e] += scale * probabilities[row + e];
      }
      return loss;
    },
  }),
};
