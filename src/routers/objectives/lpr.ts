import { randomNormal } from 'd3-random';
import { z } from 'zod';
import { LATENT, PrototypeRouter } from '../prototype-router.js';
import { taskOnly, type Objective } from './objective.js';

const options = z.strictObject({
  kind: z.literal('lpr'),
  coefficient: z
    .number()
    .min(0)
    .default(1)
    .describe(
      'Weight of all its losses together; the published code has 0.01, for runs of 4,000 large batches.',
    ),
  diversity: z.number().min(0).default(1).describe("Weight of the tokens' and the prototypes' diversity."),
  divergence: z
    .number()
    .min(0)
    .default(0.01)
    .describe('Weight of the latents’ divergence from a standard normal.'),
  align: z
    .number()
    .min(0)
    .default(0.05)
    .describe('Weight of the prototypes’ distance from what they are given.'),
});

/**
 * Latent Prototype Routing (2506.21328; code RANDO11199/LatentPrototypeRouter): see `PrototypeRouter`. Losses:
 * coefficient · [diversity · (D(M) + D(P)) + divergence · KL(N(μ, σ²) ‖ N(0, I)) + align · mean|P − stop(Qᵀ Z)|], with
 * D(H) the mean of (ĤĤᵀ − I)², Q the weights of the chosen experts and Z latents drawn from N(μ, σ²).
 */
export const lpr: Objective<z.infer<typeof options>> = {
  kind: 'lpr',
  summary: 'prototypes in a small latent space, kept apart (Latent Prototype Routing)',
  options,
  notSimulated: [
    'a Gini coefficient of 0.035 and a least over largest load of 0.70 (arXiv 2506.21328, 128 experts, 1.1B tokens); the generators lpr-baseline and lpr-routed have its published loads by construction',
  ],
  start({ coefficient, diversity, divergence, align }, setting) {
    const { dimension, experts, topK, normal } = setting;
    const router = new PrototypeRouter(dimension, experts, normal);
    return {
      ...taskOnly(setting, 'softmax-chosen'),
      router,
      add(pass, random) {
        const { tokens } = pass.batch;
        let loss = router.addDiversity('means', coefficient * diversity);
        loss += router.addDiversity('prototypes', coefficient * diversity);
        const { means, logVariances, meansGradient, logVariancesGradient } = router;
        const scale = (coefficient * divergence) / tokens;
        for (let i = 0; i < means.length; i++) {
          const variance = Math.exp(logVariances[i]);
          loss += (scale / 2) * (means[i] ** 2 + variance - 1 - logVariances[i]);
          meansGradient[i] += scale * means[i];
          logVariancesGradient[i] += (scale / 2) * (variance - 1);
        }
        pass.stopped ??= given(pass.chosen, pass.weights, router, topK, randomNormal.source(random)());
        const { values, gradient } = router.prototypes;
        const part = (coefficient * align) / values.length;
        for (let i = 0; i < values.length; i++) {
          const distance = values[i] - pass.stopped[i];
          loss += part * Math.abs(distance);
          gradient[i] += part * Math.sign(distance);
        }
        return loss;
      },
    };
  },
};

/** Qᵀ Z, [experts × LATENT]: the latents that each prototype is chosen for, by weight. */
function given(
  chosen: Uint16Array,
  weights: Float64Array,
  { means, logVariances, experts }: PrototypeRouter,
  topK: number,
  normal: () => number,
): Float64Array {
  const sums = new Float64Array(experts * LATENT);
  const latent = new Float64Array(LATENT);
  for (let first = 0; first < chosen.length; first += topK) {
    const from = (first / topK) * LATENT;
    for (let j = 0; j < LATENT; j++)
      latent[j] = means[from + j] + Math.exp(logVariances[from + j] / 2) * normal();
    for (let c = first; c < first + topK; c++) {
      for (let j = 0; j < LATENT; j++) sums[chosen[c] * LATENT + j] += weights[c] * latent[j];
    }
  }
  return sums;
}
