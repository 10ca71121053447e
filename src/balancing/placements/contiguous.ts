import { placementOf, type Placement } from '../placement.js';

/**
 * Standard EP: expert e on GPU ⌊e · gpus / experts⌋. Where GPUs do not divide the experts some have one more than
 * others; where there are more GPUs than experts, some have none.
 */
export function contiguous(gpus: number, experts: number, bits: number): Placement {
  const slots: number[][] = Array.from({ length: gpus }, () => []);
  for (let e = 0; e < experts; e++) slots[Math.floor((e * gpus) / experts)].push(e);
  return placementOf(slots, experts, bits);
}
