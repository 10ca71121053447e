import { z } from 'zod';
import { layersPerStep, planningFields, sourceFields, type MovementRule } from './rule.js';

const options = z.strictObject({
  kind: z.literal('chunked'),
  layersPerStep,
  ...sourceFields,
  ...planningFields,
});

/** A few layers move before every step, which waits for them: SGLang's `eplb_rebalance_layers_per_chunk`. */
export const chunked: MovementRule<z.output<typeof options>, z.input<typeof options>> = {
  kind: 'chunked',
  summary: 'some layers move before every step, which waits for them',
  options,
  background: false,
  ahead: false,
  free: false,
  source: (chosen) => chosen,
  planning: (chosen) => chosen,
  timing: (chosen, layer) => ({ force: Math.floor(layer / chosen.layersPerStep), beside: 0 }),
};
