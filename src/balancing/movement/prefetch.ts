import { z } from 'zod';
import { sourceFields, type MovementRule } from './rule.js';

const options = z.strictObject({ kind: z.literal('prefetch'), ...sourceFields });

/**
 * The weights that a layer's placement needs travel one layer ahead, while the layer before it runs, and compete with
 * its exchanges for the links; they arrive in staging and are in force when the layer begins. A simulated layer stands
 * for the one before it too: it carries its own weights beside it, and ends when they have arrived.
 */
export const prefetch: MovementRule<z.output<typeof options>, z.input<typeof options>> = {
  kind: 'prefetch',
  summary: 'what a layer needs moves beside the layer before it, in every step',
  options,
  background: true,
  ahead: true,
  free: false,
  source: (chosen) => chosen,
  timing: () => ({ force: 0, beside: 1 }),
};
