import type { CacheSlots, OffloadStrategy } from '../execution/index.js';
import type { LatencySummary, Ratio } from '../metrics/index.js';

/** Two precisions' share of something. */
export interface ByPrecision {
  high: number;
  low: number;
}

/** What one strategy did with experts that do not fit; totals exclude warm-up. Seconds and bytes. */
export interface OffloadStrategyResult {
  strategy: OffloadStrategy;
  label: string;
  /** Experts that a GPU's caches hold. */
  slots: CacheSlots;
  stepLatency: LatencySummary;
  /** Of all GPUs. */
  tokensPerSecond: number;
  /** Mean step of the first strategy over this one's; the interval holds the scatter of the steps alone. */
  speedup: Ratio;
  /** Share of the GPUs' time in which they stand ready and wait for experts, and in which their links carry loads. */
  loadingShare: number;
  linkBusyShare: number;
  /** Shares of the copies by what their gate weights ask for, whatever the caches hold. */
  classes: ByPrecision & { skip: number };
  /** Experts wanted by layers; share of them found in a cache; and those found on their way. */
  requests: ByPrecision;
  hitRatio: ByPrecision;
  late: ByPrecision;
  /** Loads that a layer waited for, and loads on suspicion. */
  demanded: ByPrecision;
  prefetched: ByPrecision & { useful: number; wasted: number };
  /** Experts that the host computed. */
  byHost: number;
  /** Mean per step of what misses cost, in loads of high precision. */
  missPenalty: number;
  /** Mean bytes per step over the host links, and those of them from an SSD. */
  loadedBytes: number;
  ssdBytes: number;
  /** Shares of the copies that low precision computed, and that nobody did. */
  loss: { low: number; skipped: number };
}

/** Experts that do not fit the GPUs, under several strategies on the same steps. */
export interface OffloadResult {
  /** Bytes of one expert in each precision. */
  expertBytes: ByPrecision;
  /** Bytes of every GPU for cached experts, and of all experts in high precision. */
  cacheBytes: number;
  allExpertsBytes: number;
  hostLink: { bytesPerSecond: number; latencySeconds: number };
  strategies: OffloadStrategyResult[];
  notes: string[];
}
