import { placementOf, type Placement } from '../placement.js';

/**
 * Standard EP: expert e on GPU ⌊e / (experts / gpus)⌋.
 * @throws RangeError that names the GPU counts that work
 */
export function contiguous(gpus: number, experts: number, bits: number): Placement {
  if (experts % gpus !== 0) {
    const divisors = Array.from({ length: experts }, (_, i) => i + 1).filter((n) => experts % n === 0);
    throw new RangeError(`found ${gpus} GPUs for ${experts} experts, allowed: ${divisors.join(', ')}`);
  }
  const perGpu = experts / gpus;
  const slots = Array.from({ length: gpus }, (_, gpu) =>
    Array.from({ length: perGpu }, (__, i) => gpu * perGpu + i),
  );
  return placementOf(slots, experts, bits);
}
