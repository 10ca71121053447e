import type { MemoryLedger, MemoryOverflow, MemoryPeak } from '../engine/index.js';
import {
  accountOf,
  FRAGMENTATION_SHARE,
  MEMORY_CATEGORIES,
  type MemoryCategory,
} from '../execution/index.js';

const WEIGHTS: readonly MemoryCategory[] = ['weights', 'replicas', 'otherWeights'];
const LAID_OUT: readonly MemoryCategory[] = [...WEIGHTS, 'staging', 'communicationBuffers', 'kvCache'];

/** Standard deviations above the mean of a normal distribution that one of a thousand values exceeds. */
const ONE_OF_A_THOUSAND = 3.09;

/** Peaks of every GPU's memory step by step, and the largest of all. */
export class StepMemory {
  /** The highest peak by GPU. */
  peaks: MemoryPeak[] = [];
  overflow: MemoryOverflow | null = null;
  /** By step: bytes in use on the fullest GPU at its peak. */
  readonly fullest: number[] = [];
  /** By step: what a caching allocator holds there at most. */
  readonly reserved: number[] = [];
  /** By step: the same of what is neither resident weights nor KV cache, on the GPU that has most of it. */
  readonly dynamic: number[] = [];
  /** By step: the largest max/mean of the GPUs' copies of any of its layers, after balancing. */
  readonly skew: number[] = [];
  /** Resident weights of the fullest GPU, all layers. */
  resident = 0;

  constructor(private readonly ledger: MemoryLedger) {
    ledger.resetPeaks(0);
  }

  /** Closes a step. @param skew its largest γ of the GPUs */
  close(skew: number): void {
    const { ledger } = this;
    const peaks = Array.from({ length: ledger.pools }, (_, gpu) => ledger.peakOf(gpu));
    this.overflow ??= ledger.overflow;
    this.peaks = peaks.map((peak, gpu) =>
      peak.bytes > (this.peaks[gpu]?.bytes ?? -1) ? peak : this.peaks[gpu],
    );
    this.fullest.push(Math.max(...peaks.map(({ bytes }) => bytes)));
    this.reserved.push(Math.max(...peaks.map(reservedAt)));
    this.dynamic.push(Math.max(...peaks.map(dynamicAt)));
    this.resident = Math.max(this.resident, ...peaks.map((peak) => bytesOf(peak, WEIGHTS)));
    this.skew.push(skew);
    ledger.resetPeaks(0);
  }

  /** A buffer that stands alone for a moment: it is in the peaks, and gone. */
  pulse(gpu: number, bytes: number): void {
    const account = accountOf(gpu, 'activations');
    this.ledger.allocate(account, bytes, 0);
    this.ledger.free(account, bytes);
  }
}

function bytesOf({ byCategory }: MemoryPeak, categories: readonly MemoryCategory[]): number {
  return categories.reduce((sum, category) => sum + byCategory[MEMORY_CATEGORIES.indexOf(category)], 0);
}

/** What comes and goes: all but weights, static buffers and KV cache, which are laid out once. */
function dynamicAt(peak: MemoryPeak): number {
  return peak.bytes - bytesOf(peak, LAID_OUT);
}

/** What a caching allocator holds at a peak: what comes and goes is fragmented. */
export function reservedAt(peak: MemoryPeak): number {
  return peak.bytes + FRAGMENTATION_SHARE * dynamicAt(peak);
}

/**
 * What a value that scatters like these is credible to reach: one step of a thousand exceeds it, if their logarithms
 * are normal; never less than the largest of them.
 */
export function worstCredible(values: readonly number[]): number {
  const largest = Math.max(...values);
  const logs = values.filter((value) => value > 0).map(Math.log);
  if (logs.length < 2) return largest;
  const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length;
  const variance = logs.reduce((sum, log) => sum + (log - mean) ** 2, 0) / (logs.length - 1);
  return Math.max(largest, Math.exp(mean + ONE_OF_A_THOUSAND * Math.sqrt(variance)));
}
