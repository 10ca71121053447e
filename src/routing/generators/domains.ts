import { z } from 'zod';
import { randomNormal } from 'd3-random';
import { drawOptions, type Generator } from './generator.js';
import { popularityDraw } from './popularity-draw.js';

const options = z.strictObject({
  kind: z.literal('domains'),
  domains: z.int().min(1).max(1000).default(4).describe('Domains that follow each other, and begin again.'),
  period: z.int().min(1).default(16).describe('Steps of a domain.'),
  change: z
    .enum(['abrupt', 'gradual'])
    .default('abrupt')
    .describe('gradual: popularity moves evenly from each domain to the next over its steps.'),
  sigma: z.number().min(0).max(20).default(0.8).describe('Standard deviation of log-popularity.'),
  shared: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe('Share of the variance of log-popularity that all domains have in common; 1: no drift.'),
  perLayer: z.boolean().default(true).describe('Every layer has its own popularity.'),
  ...drawOptions,
});

/**
 * Drift: domains with their own log-normal popularity follow each other. Within a domain real routing hardly drifts
 * (first and second halves of recordings correlate by .92 to 1.0), so that drift must come from domains that change.
 */
export const domains: Generator<z.infer<typeof options>> = {
  kind: 'domains',
  summary: 'drift: domains with their own popular experts follow each other',
  options,
  notes: ({ domains: count, period, change }, _, steps) =>
    change === 'abrupt' && count > 1 && steps <= period
      ? [`domains: each lasts ${period} steps: a run of ${steps} has only the first, and no drift`]
      : [],
  prepare({ domains: count, period, change, sigma, shared }, setting) {
    const { experts } = setting;
    const common = new Float64Array(experts);
    const now = new Float64Array(experts);
    const next = new Float64Array(experts);
    return popularityDraw(setting, false, (popularity, random, step) => {
      const normal = randomNormal.source(random)();
      const domain = Math.floor(step / period) % count;
      const into = (domain + 1) % count;
      for (let e = 0; e < experts; e++) common[e] = Math.sqrt(shared) * normal();
      // All domains are drawn in every step, in the same order, so that each is the same whenever it comes again.
      for (let d = 0; d < count; d++) {
        for (let e = 0; e < experts; e++) {
          const draw = Math.exp(sigma * (common[e] + Math.sqrt(1 - shared) * normal()));
          if (d === domain) now[e] = draw;
          if (d === into) next[e] = draw;
        }
      }
      const moved = change === 'gradual' ? (step % period) / period : 0;
      const [sumNow, sumNext] = [now, next].map((values) => values.reduce((sum, value) => sum + value, 0));
      for (let e = 0; e < experts; e++) {
        popularity[e] = ((1 - moved) * now[e]) / sumNow + (moved * next[e]) / sumNext;
      }
    });
  },
};
