import { z } from 'zod';
import { evenSlots, placementOfSlots } from '../placement.js';
import { repeatingSlots, repeatingSlotsRule, type PlacementRule } from './rule.js';

const options = z.strictObject({
  kind: z.literal('contiguous'),
  slots: repeatingSlots,
});

type Options = z.output<typeof options>;

/**
 * Slot p holds expert p mod experts, GPU after GPU: standard EP, and what SGLang (`trivial`) and vLLM start with
 * where slots are redundant. GPUs differ by one slot where they cannot share them equally.
 */
export const contiguousSlots: PlacementRule<Options, z.input<typeof options>> = {
  ...repeatingSlotsRule,
  kind: 'contiguous',
  summary: 'experts in order, GPU after GPU; slots beyond them repeat the first ones',
  options,
  start(chosen, site) {
    const slots = contiguousSlots.slots(chosen, site);
    const placement = slots === site.experts ? site.placement : repeated(slots, site);
    return { place: (loads) => loads.map(() => placement) };
  },
};

/** Experts in slot order, again and again. */
export function repeated(
  slots: number,
  { gpus, experts, weightBits }: { gpus: number; experts: number; weightBits: number },
) {
  const slotExpert = Int32Array.from({ length: slots }, (_, slot) => slot % experts);
  return placementOfSlots(slotExpert, gpus, experts, weightBits, evenSlots(slots, gpus));
}
