import { z } from 'zod';
import { placementOfSlots, type Placement } from '../placement.js';
import type { Refusal } from '../policy.js';
import { EplbLayer, type EplbShape } from './eplb-layer.js';
import {
  layerByLayer,
  oneSpareSlotPerGpu,
  refuseGroups,
  refuseSlots,
  slotsWithSpare,
  type PlacementRule,
  type PlacementSite,
} from './rule.js';

const options = z.strictObject({
  kind: z.literal('eplb'),
  slots: slotsWithSpare,
  groups: z
    .int()
    .min(1)
    .default(1)
    .describe(
      'Groups of consecutive experts. A multiple of the nodes: groups stay on one node (hierarchical); else: global.',
    ),
  avoidDuplicates: z
    .boolean()
    .default(false)
    .describe('No two instances of an expert on one GPU; the original allows them.'),
  reorderOnly: z
    .boolean()
    .default(false)
    .describe('One slot per expert: experts change places, none is copied.'),
});

type Options = z.output<typeof options>;

/** DeepSeek's EPLB: copies hot experts and packs instances onto GPUs by their expected load. */
export const eplbPlacement: PlacementRule<Options, z.input<typeof options>> = {
  kind: 'eplb',
  summary: "DeepSeek's EPLB: replicas of hot experts, packed onto GPUs (and groups of experts onto nodes)",
  options,
  adapts: true,
  slots: ({ slots, reorderOnly }, site) => (reorderOnly ? site.experts : (slots ?? oneSpareSlotPerGpu(site))),
  refusal,
  start(chosen, site) {
    const { gpus, experts, weightBits } = site;
    const layer = new EplbLayer(shapeOf(chosen, site));
    return layerByLayer((loads) => {
      layer.place(loads.sum);
      return inOrderOfCopying(placementOfSlots(layer.slotExpert, gpus, experts, weightBits), layer.slotRank);
    });
  },
};

function shapeOf({ groups, avoidDuplicates, ...chosen }: Options, site: PlacementSite): EplbShape {
  const { gpus, gpusPerNode, experts } = site;
  const slots = eplbPlacement.slots({ ...chosen, groups, avoidDuplicates }, site);
  return { experts, slots, groups, nodes: gpus / gpusPerNode, gpus, avoidDuplicates };
}

function refusal(chosen: Options, site: PlacementSite): Refusal | null {
  const { slots, groups, reorderOnly, avoidDuplicates } = chosen;
  const { gpus, experts } = site;
  if (reorderOnly && slots !== null && slots !== experts) {
    return {
      option: 'slots',
      found: `${slots} with reorderOnly`,
      allowed: `${experts}, one per expert (slots: null), or reorderOnly: false`,
    };
  }
  if (reorderOnly && experts % gpus !== 0) {
    return {
      option: 'reorderOnly',
      found: `true, which leaves ${experts} slots for ${gpus} GPUs`,
      allowed: 'false, or GPUs that divide the experts',
    };
  }
  const badGroups = refuseGroups(groups, site);
  if (badGroups !== null) return badGroups;
  const planned = eplbPlacement.slots(chosen, site);
  if (avoidDuplicates && planned > experts * gpus) {
    return {
      option: 'slots',
      found: `${planned} with avoidDuplicates`,
      allowed: `at most ${experts * gpus}: every expert once per GPU`,
    };
  }
  return refuseSlots(planned, site, true);
}

/** The same placement with instances counted in the order in which replicas were made, as the engines count them. */
function inOrderOfCopying(placement: Placement, rank: Int32Array): Placement {
  const { firstInstance, slotExpert, instance } = placement;
  slotExpert.forEach((expert, slot) => (instance[firstInstance[expert] + rank[slot]] = slot));
  return placement;
}
