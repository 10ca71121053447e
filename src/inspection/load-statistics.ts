/** Loads of `units` contiguous groups of experts (GPUs), or of the experts themselves. */
export function groupLoads(
  loads: ArrayLike<number>,
  units: number,
  from = 0,
  experts = loads.length,
): Float64Array {
  const grouped = new Float64Array(units);
  for (let e = 0; e < experts; e++) grouped[Math.floor((e * units) / experts)] += loads[from + e];
  return grouped;
}

/** Half the sum of differences of two shares: 0 where they are alike, 1 where they have nothing in common. */
export function shareDistance(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  from: number,
  count: number,
): number {
  let totalA = 0;
  let totalB = 0;
  for (let i = from; i < from + count; i++) {
    totalA += a[i];
    totalB += b[i];
  }
  if (totalA === 0 || totalB === 0) return 0;
  let distance = 0;
  for (let i = from; i < from + count; i++) distance += Math.abs(a[i] / totalA - b[i] / totalB);
  return distance / 2;
}

/** Pearson's correlation of two loads; 0 where one of them is even. */
export function correlation(a: ArrayLike<number>, b: ArrayLike<number>, from: number, count: number): number {
  let sumA = 0;
  let sumB = 0;
  for (let i = from; i < from + count; i++) {
    sumA += a[i];
    sumB += b[i];
  }
  const [meanA, meanB] = [sumA / count, sumB / count];
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = from; i < from + count; i++) {
    ab += (a[i] - meanA) * (b[i] - meanB);
    aa += (a[i] - meanA) ** 2;
    bb += (b[i] - meanB) ** 2;
  }
  return aa === 0 || bb === 0 ? 0 : ab / Math.sqrt(aa * bb);
}

/** Autocorrelation of a series at lag 1; 0 for a constant one. */
export function lagOne(series: Float64Array): number {
  const n = series.length;
  if (n < 3) return 0;
  const mean = series.reduce((sum, x) => sum + x, 0) / n;
  let [variance, covariance] = [0, 0];
  for (let i = 0; i < n; i++) {
    variance += (series[i] - mean) ** 2;
    if (i > 0) covariance += (series[i] - mean) * (series[i - 1] - mean);
  }
  return variance <= 1e-20 * n * mean * mean ? 0 : covariance / variance;
}

export function medianOf(values: ArrayLike<number>): number {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function meanOf(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum / values.length;
}
