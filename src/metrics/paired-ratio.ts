import { deviation } from 'd3-array';
import jstat from 'jstat';
import { effectiveSize } from './effective-size.js';

/**
 * A ratio of two mean latencies with its 90 % interval, low ≤ mean ≤ high; null ends where there is too little
 * to say. Where one of the two takes no time there is no ratio: 1, without an interval.
 */
export interface Ratio {
  mean: number;
  low: number | null;
  high: number | null;
}

const TAIL = 0.05;
const NO_RATIO: Ratio = { mean: 1, low: null, high: null };

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
  if (!(sumBaseline > 0 && sumOther > 0)) return NO_RATIO;
  const mean = sumBaseline / sumOther;
  const residuals = Float64Array.from(baseline, (x, i) => (n * x) / sumBaseline - (n * other[i]) / sumOther);
  let squares = 0;
  for (const residual of residuals) squares += residual * residual;
  if (squares <= 1e-24 * n) return { mean, low: n > 1 ? mean : null, high: n > 1 ? mean : null };
  const effective = effectiveSize(residuals);
  if (effective <= 2) return { mean, low: null, high: null };
  const error = Math.sqrt(squares / (n - 1) / effective);
  return around(mean, jstat.studentt.inv(1 - TAIL, effective - 1) * error);
}

/**
 * The same ratio with the interval that resampling gives: log(mean) ± t · (standard deviation of the
 * replicates' log-ratios), t with one degree of freedom less than replicates. Replicates say how far the ratio
 * scatters, not where it is: they repeat sequences and pack them into other chunks, so that their own ratios
 * lie beside that of the run.
 *
 * @param replicates ratios of runs over sequences drawn with replacement
 */
export function resampledRatio(mean: number, replicates: readonly number[]): Ratio {
  const logs = replicates.map((ratio) => Math.log(ratio));
  const spread = deviation(logs);
  if (!(mean > 0) || spread === undefined || !Number.isFinite(spread)) return { mean, low: null, high: null };
  return around(mean, jstat.studentt.inv(1 - TAIL, logs.length - 1) * spread);
}

/** The interval from mean / e^reach to mean · e^reach. */
function around(mean: number, reach: number): Ratio {
  return { mean, low: mean * Math.exp(-reach), high: mean * Math.exp(reach) };
}
