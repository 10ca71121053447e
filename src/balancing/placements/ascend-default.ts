import { z } from 'zod';
import { placementOf, type Placement } from '../placement.js';
import type { LoadHistory } from '../history/estimator.js';
import {
  equalShareLoads,
  fallingReversed,
  largest,
  redundantSlots,
  refuseRedundant,
  slotsOf,
} from './ascend-slots.js';
import type { PlacementRule } from './rule.js';

const options = z.strictObject({
  kind: z.literal('ascend-default'),
  redundant: redundantSlots,
});

type Options = z.output<typeof options>;

/** New tables are taken only if the largest GPU loads, summed over layers, fall below this share of today's. */
const WORTH_MOVING = 0.95;

/**
 * vllm-ascend's default policy (@ 182b75ea): replicas as EPLB makes them, but of equal experts the one of the highest
 * number, then greedy packing in which no GPU holds an expert twice: replicas first, in the order of their experts'
 * numbers, then all others by falling load. All layers are replaced or none.
 */
export const ascendDefault: PlacementRule<Options, z.input<typeof options>> = {
  kind: 'ascend-default',
  summary: "vllm-ascend's default: greedy packing without duplicates, taken if it saves 5 % over all layers",
  options,
  adapts: true,
  slots: slotsOf,
  refusal: refuseRedundant,
  start(chosen, site) {
    const { gpus, experts, weightBits } = site;
    const slots = slotsOf(chosen, site);
    return {
      place(loads, current) {
        const placed = loads.map(({ sum }) => placementOf(packLayer(sum, gpus, slots), experts, weightBits));
        const before = sumOfLargest(current, loads);
        return sumOfLargest(placed, loads) < WORTH_MOVING * before ? placed : loads.map(() => null);
      },
    };
  },
};

/** Experts by GPU. */
function packLayer(loads: Float64Array, gpus: number, slots: number): number[][] {
  const experts = loads.length;
  const room = slots / gpus;
  const share = Float64Array.from(loads);
  const count = new Int32Array(experts).fill(1);
  let order = [...loads.keys()];
  for (let made = experts; made < slots; made++) {
    order = fallingReversed(order, share);
    const place = order.findIndex((expert) => count[expert] < gpus);
    const hot = order[place];
    share[hot] = (share[hot] * count[hot]) / (count[hot] + 1);
    count[hot]++;
  }
  const held: number[][] = Array.from({ length: gpus }, () => []);
  const gpuLoads = new Float64Array(gpus);
  const put = (expert: number) => {
    const open = [...held.keys()].filter((gpu) => held[gpu].length < room);
    const free = open.filter((gpu) => !held[gpu].includes(expert));
    // Where only GPUs that hold it have room it is doubled: the original fails there.
    const gpu = (free.length > 0 ? free : open).reduce((best, at) =>
      gpuLoads[at] < gpuLoads[best] ? at : best,
    );
    held[gpu].push(expert);
    gpuLoads[gpu] += share[expert];
  };
  for (let e = 0; e < experts; e++) for (let replica = 1; replica < count[e]; replica++) put(e);
  fallingReversed(order, share).forEach(put);
  return held;
}

/** Largest GPU load with equal shares, summed over layers. */
function sumOfLargest(placements: readonly Placement[], loads: readonly LoadHistory[]): number {
  return placements.reduce(
    (sum, placement, layer) => sum + largest(equalShareLoads(placement, loads[layer].sum)),
    0,
  );
}
