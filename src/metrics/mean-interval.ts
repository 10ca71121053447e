import { deviation, mean } from 'd3-array';
import jstat from 'jstat';

/** A mean with its 90 % interval; null ends where a single value says nothing of it. */
export interface Interval {
  mean: number;
  low: number | null;
  high: number | null;
}

const TAIL = 0.05;

/** The mean of independent values: ± t(0.95, n − 1) · standard deviation / √n. At least one value. */
export function meanInterval(values: readonly number[]): Interval {
  const centre = mean(values)!;
  const n = values.length;
  if (n < 2) return { mean: centre, low: null, high: null };
  const half = (jstat.studentt.inv(1 - TAIL, n - 1) * deviation(values)!) / Math.sqrt(n);
  return { mean: centre, low: centre - half, high: centre + half };
}
