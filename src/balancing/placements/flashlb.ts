import { z } from 'zod';
import { instancesOn, placementOf, slotsByGpu, type Placement } from '../placement.js';
import { FlashLbLayer, matchGpus, meanOverPeak } from './flashlb-layer.js';
import { oneSpareSlotPerGpu, refuseSlots, slotsWithSpare, type PlacementRule } from './rule.js';

const share = z.number().gt(0).max(1).nullable().default(null);

const options = z.strictObject({
  kind: z.literal('flashlb'),
  slots: slotsWithSpare,
  zScore: z
    .number()
    .min(0)
    .default(0.674)
    .describe('Loads are expected this many standard deviations above their mean.'),
  tiers: z.int().min(1).default(4).describe('Parts of the experts, by load, that are searched one by one.'),
  width: z
    .int()
    .min(0)
    .default(8)
    .describe('Replicas more or fewer than its greedy share that a part is tried with.'),
  updateBelow: share.describe(
    'A layer is placed anew where mean/max GPU load over the history is below this; null: 0.85, or 0.9 below 32 GPUs.',
  ),
  updateBelowLast: share.describe(
    'The same, as a share of what it was when the layer was last placed; null: 0.9, or 0.95 below 32 GPUs.',
  ),
});

type Options = z.output<typeof options>;

/**
 * vllm-ascend's FlashLB (@ 182b75ea, `eplb_policy_type` 3): looks at the mean, the spread and the covariance of expert
 * loads over the steps of the history. A layer is placed when its balance falls below a threshold, absolute or of what
 * it was after the last time; the first time it always is. GPUs are then matched to those of today, so that few
 * experts move. The original gives a replica that finds no GPU to GPU −1; such numbers of replicas are left out here.
 */
export const flashlb: PlacementRule<Options, z.input<typeof options>> = {
  kind: 'flashlb',
  summary: "vllm-ascend's FlashLB: replicas and packing by mean and spread of loads over steps",
  options,
  adapts: true,
  slots: ({ slots }, site) => slots ?? oneSpareSlotPerGpu(site),
  refusal(chosen, site) {
    const slots = flashlb.slots(chosen, site);
    const most = site.experts * site.gpus;
    if (slots > most)
      return { option: 'slots', found: String(slots), allowed: `at most ${most}: every expert once per GPU` };
    return refuseSlots(slots, site, true);
  },
  start(chosen, site) {
    const { gpus, experts, weightBits } = site;
    const slots = flashlb.slots(chosen, site);
    const updateBelow = chosen.updateBelow ?? (gpus < 32 ? 0.9 : 0.85);
    const updateBelowLast = chosen.updateBelowLast ?? (gpus < 32 ? 0.95 : 0.9);
    /** Balance of every layer when it was last placed. */
    const last: (number | undefined)[] = [];
    return {
      place: (loads, current, layers = [...loads.keys()]) =>
        loads.map(({ rows }, i) => {
          const then = last[layers[i]];
          if (rows.length === 0) return null;
          const now = balanceOf(rows, current[i]);
          if (then !== undefined && now >= updateBelow && now >= updateBelowLast * then) return null;
          const parts = new FlashLbLayer(rows, gpus, slots, chosen).place();
          if (parts === null) return null;
          const placed = placementOf(matchGpus(parts, slotsByGpu(current[i])), experts, weightBits);
          last[layers[i]] = balanceOf(rows, placed);
          return placed;
        }),
    };
  },
};

function balanceOf(rows: readonly ArrayLike<number>[], placement: Placement): number {
  const replicas = Int32Array.from(placement.home, (_, expert) => instancesOn(placement, expert));
  return meanOverPeak(rows, slotsByGpu(placement), replicas);
}
