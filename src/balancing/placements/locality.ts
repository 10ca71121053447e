import { linearSumAssignment } from 'linear-sum-assignment';
import { z } from 'zod';
import type { LayerBatch } from '../../routing/index.js';
import { placementOf, type Placement } from '../placement.js';
import type { PlacementRule, PlacementSite } from './rule.js';

const options = z.strictObject({
  kind: z.literal('locality'),
  within: z
    .enum(['node', 'gpu'])
    .default('node')
    .describe('Whose tokens should find their experts at home: those of a node or of a GPU.'),
});

type Options = z.output<typeof options>;

/**
 * Experts where the tokens are that choose them, in the calibration: of all placements with as many experts per GPU as
 * contiguous ones have, one that keeps most copies on their own node (or GPU), found exactly as an assignment of experts
 * to slots. Inside a node experts go, the largest first, to the GPU with least load that has a slot. No expert has a
 * replica. What LocMoE (arXiv 2401.13920) trains its router for, done to the placement instead.
 */
export const locality: PlacementRule<Options, z.input<typeof options>> = {
  kind: 'locality',
  summary: 'experts on the node (or GPU) whose tokens choose them most, as an assignment problem',
  options,
  adapts: true,
  offline: true,
  slots: (_, { experts }) => experts,
  refusal({ within }, { gpus, gpusPerNode, calibrationLayers }) {
    if (calibrationLayers === undefined) {
      return {
        option: '',
        found: 'locality without a calibration that says which GPUs copies come from',
        allowed: 'a run of a scenario, or another placement',
      };
    }
    if (within === 'gpu' || gpus > gpusPerNode) return null;
    return { option: 'within', found: `node, where all ${gpus} GPUs are on one`, allowed: 'gpu' };
  },
  start(chosen, site) {
    const batches = site.calibrationLayers!(site.calibrationShare!);
    const placements = batches.map((batch) => localPlacement(batch, chosen, site));
    return { place: (_, current, layers = [...current.keys()]) => layers.map((layer) => placements[layer]) };
  },
};

function localPlacement(
  { counts }: LayerBatch,
  { within }: Options,
  { gpus, gpusPerNode, experts, weightBits, placement }: PlacementSite,
): Placement {
  const size = within === 'gpu' ? 1 : gpusPerNode;
  const places = Math.ceil(gpus / size);
  const from = Array.from({ length: experts }, () => new Float64Array(places));
  for (let source = 0; source < gpus; source++) {
    const place = Math.floor(source / size);
    for (let e = 0; e < experts; e++) from[e][place] += counts[source * experts + e];
  }
  const { slotGpu } = placement;
  const placeOfSlot = Array.from(slotGpu, (gpu) => Math.floor(gpu / size));
  const { rowAssignments } = linearSumAssignment(
    from.map((copies) => placeOfSlot.map((place) => copies[place])),
    { maximaze: true },
  );
  const room = Array.from(
    { length: gpus },
    (_, gpu) => placement.firstSlot[gpu + 1] - placement.firstSlot[gpu],
  );
  const load = from.map((copies) => copies.reduce((sum, own) => sum + own, 0));
  const loadOf = new Float64Array(gpus);
  const slots: number[][] = Array.from({ length: gpus }, () => []);
  const byLoad = Array.from(load.keys()).sort((a, b) => load[b] - load[a] || a - b);
  for (const expert of byLoad) {
    const first = placeOfSlot[rowAssignments[expert]] * size;
    let lightest = -1;
    for (let gpu = first; gpu < Math.min(first + size, gpus); gpu++) {
      if (slots[gpu].length === room[gpu]) continue;
      if (lightest < 0 || loadOf[gpu] < loadOf[lightest]) lightest = gpu;
    }
    slots[lightest].push(expert);
    loadOf[lightest] += load[expert];
  }
  return placementOf(slots, experts, weightBits);
}
