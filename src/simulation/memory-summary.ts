import {
  FRAGMENTATION_SHARE,
  LAYER_CATEGORIES,
  MEMORY_CATEGORIES,
  NON_TENSOR_BYTES,
  type MemoryCategory,
} from '../execution/index.js';
import type { PolicyRun } from './policy-run.js';
import { reservedAt } from './step-memory.js';
import type { OutOfMemory, PeakMemory, Verdict } from './result.js';

/** Peaks of a run so far, and the composition of the highest. */
export function peakMemoryOf(run: PolicyRun): PeakMemory {
  const { ledger, memory } = run;
  const peaks = memory?.peaks ?? Array.from({ length: ledger.pools }, (_, gpu) => ledger.peakOf(gpu));
  const categories = memory === null ? LAYER_CATEGORIES : MEMORY_CATEGORIES;
  const fullest = peaks.reduce((best, peak) => (peak.bytes > best.bytes ? peak : best));
  const capacity = run.capacity;
  const reserved = memory === null ? fullest.bytes * (1 + FRAGMENTATION_SHARE) : reservedAt(fullest);
  return {
    max: fullest.bytes,
    perGpu: peaks.map((peak) => peak.bytes),
    byCategory: Object.fromEntries(
      categories.map((category, i): [MemoryCategory, number] => [category, fullest.byCategory[i]]),
    ) as PeakMemory['byCategory'],
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
export function outOfMemoryOf(run: PolicyRun): OutOfMemory | null {
  const { overflow } = run.memory ?? run.ledger;
  if (overflow === null) return null;
  const { pool, needed, limit, category, tag } = overflow;
  return { ...run.locate(tag), gpu: pool, needed, limit, category: MEMORY_CATEGORIES[category] };
}
