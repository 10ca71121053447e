import { z } from 'zod';
import { instancesOn, type Placement } from '../placement.js';
import type { Refusal } from '../policy.js';
import { refuseSlots, type PlacementSite } from './rule.js';

/** Option of vllm-ascend's policies, which count slots beyond one per expert. */
export const redundantSlots = z
  .int()
  .min(0)
  .nullable()
  .default(null)
  .describe('Slots beyond one per expert, at most one per GPU; null: as many as fill every GPU equally.');

interface Options {
  redundant: number | null;
}

/** Slots of a layer. */
export function slotsOf({ redundant }: Options, { gpus, experts }: PlacementSite): number {
  const spare = (gpus - (experts % gpus)) % gpus;
  return experts + (redundant ?? (spare > 0 ? spare : gpus > 1 ? gpus : 0));
}

/** Refuses redundant slots that GPUs cannot share equally, or of which a GPU would have more than one. */
export function refuseRedundant(chosen: Options, site: PlacementSite): Refusal | null {
  const { gpus } = site;
  const { redundant } = chosen;
  if (redundant !== null && redundant > gpus) {
    return {
      option: 'redundant',
      found: `${redundant} on ${gpus} GPUs`,
      allowed: `at most one per GPU (redundant: ${gpus})`,
    };
  }
  if (gpus === 1 && redundant !== null && redundant > 0) {
    return {
      option: 'redundant',
      found: `${redundant} on one GPU`,
      allowed: '0: a replica needs a second GPU',
    };
  }
  const refused = refuseSlots(slotsOf(chosen, site), site, true);
  return refused && { ...refused, option: 'redundant' };
}

/** Keys by falling value, equals in the reverse of their order: a stable rising sort, turned around. */
export function fallingReversed(order: readonly number[], value: ArrayLike<number>): number[] {
  return [...order].sort((a, b) => value[a] - value[b]).reverse();
}

/** GPU loads where the instances of an expert share its load equally. */
export function equalShareLoads(placement: Placement, loads: ArrayLike<number>): Float64Array {
  const gpuLoads = new Float64Array(placement.gpus);
  placement.slotExpert.forEach((expert, slot) => {
    gpuLoads[placement.slotGpu[slot]] += loads[expert] / instancesOn(placement, expert);
  });
  return gpuLoads;
}

/** The largest of some numbers, 0 of none. */
export function largest(values: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < values.length; i++) if (values[i] > most) most = values[i];
  return most;
}
