import {
  FRAGMENTATION_SHARE,
  MEMORY_CATEGORIES,
  NON_TENSOR_BYTES,
  type MemoryCategory,
} from '../execution/index.js';
import type { MemoryLedger } from '../engine/index.js';
import { reservedAt, type StepMemory } from './step-memory.js';
import type { OutOfMemory, PeakMemory, Verdict } from './result.js';

/** What has memory: GPUs in one ledger, or those of every pipeline stage in one of its own. */
interface WithMemory {
  ledgers: readonly MemoryLedger[];
  /** Step by step, in scope `model`. */
  memory: StepMemory | null;
  /** What can be in it. */
  categories: readonly MemoryCategory[];
  /** Memory of a GPU, bytes. */
  capacity: number;
  locate(tag: number): { step: number; layer: number };
}

/** Peaks of a run so far, and the composition of the highest. */
export function peakMemoryOf(run: WithMemory): PeakMemory {
  const { ledgers, memory, categories } = run;
  const peaks =
    memory?.peaks ??
    ledgers.flatMap((ledger) => Array.from({ length: ledger.pools }, (_, gpu) => ledger.peakOf(gpu)));
  const fullest = peaks.reduce((best, peak) => (peak.bytes > best.bytes ? peak : best));
  const capacity = run.capacity;
  const reserved = memory === null ? fullest.bytes * (1 + FRAGMENTATION_SHARE) : reservedAt(fullest);
  return {
    max: fullest.bytes,
    perGpu: peaks.map((peak) => peak.bytes),
    byCategory: Object.fromEntries(
      categories.map((category): [MemoryCategory, number] => [
        category,
        fullest.byCategory[MEMORY_CATEGORIES.indexOf(category)],
      ]),
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
export function outOfMemoryOf(run: WithMemory): OutOfMemory | null {
  const { ledgers, memory } = run;
  const overflows = (memory === null ? ledgers : [memory]).flatMap(({ overflow }, i) =>
    overflow === null ? [] : [{ ...overflow, gpu: overflow.pool + i * ledgers[0].pools }],
  );
  if (overflows.length === 0) return null;
  const { gpu, needed, limit, category, tag } = overflows.reduce((a, b) => (b.tag < a.tag ? b : a));
  return { ...run.locate(tag), gpu, needed, limit, category: MEMORY_CATEGORIES[category] };
}
