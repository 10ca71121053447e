import { z } from 'zod';
import { placementOf } from '../placement.js';
import { repeatingSlots, repeatingSlotsRule, type PlacementRule } from './rule.js';

const options = z.strictObject({
  kind: z.literal('round-robin'),
  slots: repeatingSlots,
});

type Options = z.output<typeof options>;

/** Experts dealt to the GPUs in turn: expert e on GPU e mod GPUs (vLLM's `round_robin` placement). */
export const roundRobin: PlacementRule<Options, z.input<typeof options>> = {
  ...repeatingSlotsRule,
  kind: 'round-robin',
  summary: 'experts dealt to the GPUs in turn',
  options,
  start(chosen, site) {
    const { gpus, experts, weightBits } = site;
    const dealt: number[][] = Array.from({ length: gpus }, () => []);
    const slots = roundRobin.slots(chosen, site);
    for (let slot = 0; slot < slots; slot++) dealt[slot % gpus].push(slot % experts);
    const placement = placementOf(dealt, experts, weightBits);
    return { place: (loads) => loads.map(() => placement) };
  },
};
