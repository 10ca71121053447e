import { z } from 'zod';
import { placementOf } from '../placement.js';
import { layerByLayer, oneSpareSlotPerGpu, refuseSlots, slotsWithSpare, type PlacementRule } from './rule.js';

const options = z.strictObject({
  kind: z.literal('tensorrt-llm'),
  slots: slotsWithSpare,
});

type Options = z.output<typeof options>;

/**
 * TensorRT-LLM's greedy: the next replica goes to the expert with the largest load per instance, the larger number
 * among equals; then instances by falling load, the smaller number among equals, each to the GPU with the least load
 * that has room, the lowest number among equals. Double arithmetic on float32 loads; no nodes, no look at duplicates.
 * Without any load the replicas go around.
 */
export const tensorrtLlm: PlacementRule<Options, z.input<typeof options>> = {
  kind: 'tensorrt-llm',
  summary: "TensorRT-LLM's greedy: replicas of hot experts, instances onto the least loaded GPU",
  options,
  adapts: true,
  slots: ({ slots }, site) => slots ?? oneSpareSlotPerGpu(site),
  refusal: (chosen, site) => refuseSlots(tensorrtLlm.slots(chosen, site), site, true),
  start(chosen, site) {
    const { gpus, experts, weightBits } = site;
    const slots = tensorrtLlm.slots(chosen, site);
    return layerByLayer(({ sum }) => {
      const loads = Float64Array.from(Float32Array.from(sum));
      const count = replicate(loads, slots);
      return placementOf(deal(loads, count, gpus, slots / gpus), experts, weightBits);
    });
  },
};

/** Instances by expert. */
function replicate(loads: Float64Array, slots: number): Int32Array {
  const experts = loads.length;
  const count = new Int32Array(experts).fill(1);
  const idle = loads.every((load) => load === 0);
  for (let made = experts; made < slots; made++) {
    let best = idle ? made % experts : 0;
    for (let e = 1; !idle && e < experts; e++) if (loads[e] / count[e] >= loads[best] / count[best]) best = e;
    count[best]++;
  }
  return count;
}

/** Experts by GPU. */
function deal(loads: Float64Array, count: Int32Array, gpus: number, room: number): number[][] {
  const share = loads.map((load, e) => load / count[e]);
  const instances = [...loads.keys()]
    .sort((a, b) => share[b] - share[a] || a - b)
    .flatMap((expert) => new Array<number>(count[expert]).fill(expert));
  const dealt: number[][] = Array.from({ length: gpus }, () => []);
  const gpuLoads = new Float64Array(gpus);
  for (const expert of instances) {
    let best = -1;
    for (let gpu = 0; gpu < gpus; gpu++) {
      if (dealt[gpu].length < room && (best < 0 || gpuLoads[gpu] < gpuLoads[best])) best = gpu;
    }
    dealt[best].push(expert);
    gpuLoads[best] += share[expert];
  }
  return dealt;
}
