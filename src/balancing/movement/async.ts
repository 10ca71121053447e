import { z } from 'zod';
import { layersPerStep, planningFields, sourceFields, type MovementRule } from './rule.js';

const options = z.strictObject({
  kind: z.literal('async'),
  layersPerStep,
  ...sourceFields,
  ...planningFields,
});

/**
 * While a step runs, the weights of one layer (or some) travel into a staging buffer and compete with its exchanges
 * for the links; the layer takes them over after the step: vLLM's `use_async`. The bytes of the layers on their way
 * are spread evenly over the layers of the step. Since a simulated layer stands for all of the model's, it carries
 * its own movement's bytes in equal parts, one for every step that the whole movement takes.
 */
export const asynchronous: MovementRule<z.output<typeof options>, z.input<typeof options>> = {
  kind: 'async',
  summary: 'layers move in the background, one at a time, into a staging buffer',
  options,
  background: true,
  ahead: false,
  free: false,
  source: (chosen) => chosen,
  planning: (chosen) => chosen,
  timing: (chosen, layer, layers) => ({
    force: Math.floor(layer / chosen.layersPerStep) + 1,
    beside: Math.ceil(layers / chosen.layersPerStep),
  }),
};
