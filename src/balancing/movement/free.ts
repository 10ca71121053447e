import { z } from 'zod';
import type { MovementRule } from './rule.js';

const options = z.strictObject({ kind: z.literal('free') });

/** Weights are where they are needed at once and for nothing: a limit. */
export const free: MovementRule<z.output<typeof options>, z.input<typeof options>> = {
  kind: 'free',
  summary: 'weights move at once and for nothing: a limit',
  options,
  background: false,
  ahead: false,
  free: true,
  source: () => ({ from: 'gpus', alignSlots: true }),
  timing: () => ({ force: 0, beside: 0 }),
};
