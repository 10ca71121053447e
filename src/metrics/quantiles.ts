import { mean, quantileSorted } from 'd3-array';
import { effectiveSize } from './effective-size.js';

/** Latencies of the steps of a run. */
export interface LatencySummary {
  /** Seconds. Quantiles are R-7. */
  mean: number;
  p50: number;
  p95: number;
  p99: number;
  max: number;
  /** Number of samples. */
  steps: number;
  /** Independent samples that are worth as much, given the correlation of neighbours. */
  effectiveSteps: number;
}

/**
 * @param samples seconds, [step · layers + layer]
 * @param layers layers per step, each a series of its own
 */
export function summariseLatency(samples: Float64Array, layers: number): LatencySummary {
  const sorted = samples.slice().sort();
  const quantile = (p: number) => quantileSorted(sorted as ArrayLike<number> as number[], p)!;
  let effectiveSteps = 0;
  for (let layer = 0; layer < layers; layer++) {
    effectiveSteps += effectiveSize(layers === 1 ? samples : samples.filter((_, i) => i % layers === layer));
  }
  return {
    mean: mean(samples)!,
    p50: quantile(0.5),
    p95: quantile(0.95),
    p99: quantile(0.99),
    max: sorted[sorted.length - 1],
    steps: samples.length,
    effectiveSteps,
  };
}
