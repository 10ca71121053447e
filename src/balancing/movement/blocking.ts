import { z } from 'zod';
import { planningFields, sourceFields, type MovementRule } from './rule.js';

const options = z.strictObject({ kind: z.literal('blocking'), ...sourceFields, ...planningFields });

/** Everything stops while all layers move at once: vLLM without `use_async`, SGLang without chunks. */
export const blocking: MovementRule<z.output<typeof options>, z.input<typeof options>> = {
  kind: 'blocking',
  summary: 'all layers move at once, before the step, which waits',
  options,
  background: false,
  ahead: false,
  free: false,
  source: (chosen) => chosen,
  planning: (chosen) => chosen,
  timing: () => ({ force: 0, beside: 0 }),
};
