import { quantileSorted } from 'd3-array';
import jstat from 'jstat';
import { effectiveSize } from './effective-size.js';

/** A ratio of two mean latencies with its 90 % interval; null ends where there is too little to say. */
export interface Ratio {
  mean: number;
  low: number | null;
  high: number | null;
}

const TAIL = 0.05;

/**
 * mean(baseline) / mean(other) of two series over the same steps: the interval of the paired log-ratio by the
 * delta method, with as many degrees of freedom as effective steps.
 *
 * @param baseline seconds by step
 * @param other seconds by step
 */
export function pairedRatio(baseline: Float64Array, other: Float64Array): Ratio {
  const n = baseline.length;
  let sumBaseline = 0;
  let sumOther = 0;
  for (let i = 0; i < n; i++) {
    sumBaseline += baseline[i];
    sumOther += other[i];
  }
  const mean = sumBaseline / sumOther;
  const residuals = Float64Array.from(baseline, (x, i) => (n * x) / sumBaseline - (n * other[i]) / sumOther);
  let squares = 0;
  for (const residual of residuals) squares += residual * residual;
  if (squares <= 1e-24 * n) return { mean, low: n > 1 ? mean : null, high: n > 1 ? mean : null };
  const effective = effectiveSize(residuals);
  if (effective <= 2) return { mean, low: null, high: null };
  const error = Math.sqrt(squares / (n - 1) / effective);
  const reach = jstat.studentt.inv(1 - TAIL, effective - 1) * error;
  return { mean, low: mean * Math.exp(-reach), high: mean * Math.exp(reach) };
}

/**
 * The same ratio with the interval that resampling gives: the 5 % and 95 % quantiles of the replicates.
 * @param replicates ratios of runs over sequences drawn with replacement
 */
export function resampledRatio(mean: number, replicates: readonly number[]): Ratio {
  const sorted = [...replicates].sort((a, b) => a - b);
  return { mean, low: quantileSorted(sorted, TAIL)!, high: quantileSorted(sorted, 1 - TAIL)! };
}
