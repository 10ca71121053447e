import { FRAGMENTATION_SHARE, NON_TENSOR_BYTES } from '../execution/index.js';
import { effectiveSize, shareInterval } from '../metrics/index.js';
import type { ModelMemory } from './result.js';
import { worstCredible, type StepMemory } from './step-memory.js';

/** A policy's memory, before it is compared with that of `ep`. */
export type OwnMemory = Omit<ModelMemory, 'kvTokens'> & { room: number };

/**
 * Memory of the whole model under one policy.
 * @param capacity bytes of a GPU
 * @param bytesPerToken of the KV cache
 */
export function modelMemoryOf(
  { fullest, reserved, dynamic, skew, resident }: StepMemory,
  buffers: ModelMemory['buffers'],
  capacity: number,
  bytesPerToken: number,
): OwnMemory {
  const limit = capacity - NON_TENSOR_BYTES;
  const trials = Math.max(1, effectiveSize(Float64Array.from(fullest)));
  const shareOf = (where: (bytes: number, step: number) => boolean) =>
    shareInterval(fullest.filter(where).length / fullest.length, trials);
  const credible = worstCredible(dynamic);
  return {
    buffers,
    doesNotFit: shareOf((bytes) => bytes > limit),
    atRisk: shareOf((bytes, step) => bytes <= limit && reserved[step] > limit),
    dynamic: { largest: Math.max(...dynamic), credible },
    gamma: { largest: Math.max(...skew), credible: worstCredible(skew) },
    // Weights and the cache are laid out once; what comes and goes is fragmented.
    room: Math.floor(Math.max(0, limit - resident - credible * (1 + FRAGMENTATION_SHARE)) / bytesPerToken),
  };
}
