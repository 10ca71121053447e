import type { Machine } from '../src/execution/index.js';
import { defaultProfile, gpuPresets } from '../src/hardware/index.js';
import { completeShape, shapeSchema } from '../src/model/index.js';
import { generatorSource, generators, type RoutingSource } from '../src/routing/index.js';

/** One log-normal batch of counts, given again in every step. */
export function sourceOf(gpus: number, experts: number, steps: number): RoutingSource {
  const options = generators[3].options.parse({ kind: 'log-normal', sigma: 1, redraw: 'run' });
  const setting = { gpus, experts, topK: 4, routerGroups: 1, topGroups: 1, tokensPerGpu: 4096 };
  const drawn = generatorSource({ options, setting, layerIds: [0], steps: 1, seed: 1 });
  const step = drawn.start().next()!;
  return {
    ...drawn,
    steps,
    start() {
      let at = 0;
      return { next: () => (at < steps ? { ...step, step: at++ } : null) };
    },
  };
}

/** A model of that many experts on H200s in nodes of eight. */
export function machineOf(gpus: number, experts: number): Machine {
  const gpu = gpuPresets.h200;
  return {
    cluster: { gpu, gpus, gpusPerNode: 8, fabric: 'ports', profile: defaultProfile(gpu) },
    shape: completeShape(
      shapeSchema.parse({ hiddenSize: 2880, expertHiddenSize: 2880, experts, topK: 4, weightDtype: 'bf16' }),
    ),
  };
}
