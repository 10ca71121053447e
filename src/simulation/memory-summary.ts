import {
  FRAGMENTATION_SHARE,
  MEMORY_CATEGORIES,
  NON_TENSOR_BYTES,
  type MemoryCategory,
} from '../execution/index.js';
import type { MemoryLedger } from '../engine/index.js';
import type { OutOfMemory, PeakMemory, Verdict } from './result.js';

/** What has memory: GPUs in one ledger, or those of every pipeline stage in one of its own. */
interface WithMemory {
  ledgers: readonly MemoryLedger[];
  /** Memory of a GPU, bytes. */
  capacity: number;
  locate(tag: number): { step: number; layer: number };
}

/** Peaks of a run so far, and the composition of the highest. */
export function peakMemoryOf(run: WithMemory): PeakMemory {
  const peaks = run.ledgers.flatMap((ledger) =>
    Array.from({ length: ledger.pools }, (_, gpu) => ledger.peakOf(gpu)),
  );
  const fullest = peaks.reduce((best, peak) => (peak.bytes > best.bytes ? peak : best));
  const capacity = run.capacity;
  const reserved = fullest.bytes * (1 + FRAGMENTATION_SHARE);
  return {
    max: fullest.bytes,
    perGpu: peaks.map((peak) => peak.bytes),
    byCategory: Object.fromEntries(
      MEMORY_CATEGORIES.map((category, i): [MemoryCategory, number] => [category, fullest.byCategory[i]]),
    ) as Record<MemoryCategory, number>,
    ...run.locate(fullest.tag),
    reserved,
    nonTensor: NON_TENSOR_BYTES,
    capacity,
    verdict: verdictOf(fullest.bytes, reserved, capacity),
  };
}

function verdictOf(bytes: number, reserved: number, capacity: number): Verdict {
  if (bytes + NON_TENSOR_BYTES > capacity) return 'does not fit';
  return reserved + NON_TENSOR_BYTES > capacity ? 'at risk' : 'fits';
}

/** The first allocation of a run that found no room. */
export function outOfMemoryOf(run: WithMemory): OutOfMemory | null {
  let first = -1;
  run.ledgers.forEach(({ overflow }, i) => {
    const earliest = first < 0 ? Infinity : run.ledgers[first].overflow!.tag;
    if (overflow !== null && overflow.tag < earliest) first = i;
  });
  if (first < 0) return null;
  const { pool, needed, limit, category, tag } = run.ledgers[first].overflow!;
  const gpu = pool + first * run.ledgers[first].pools;
  return { ...run.locate(tag), gpu, needed, limit, category: MEMORY_CATEGORIES[category] };
}
