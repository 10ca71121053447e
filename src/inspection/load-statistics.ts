/** How unequal the loads of the units (experts, GPUs) of one layer are. */
export interface LoadStatistics {
  /** γ: the largest load over the mean; 1 is even. */
  maxOverMean: number;
  /** Mean over the largest load, as SGLang and vLLM log it; 1 is even. */
  balancedness: number;
  /** Gini coefficient; 0 is even. */
  gini: number;
  /** Standard deviation (of the population) over the mean; 0 is even. */
  coefficientOfVariation: number;
  /** Entropy of the shares over that of even ones; 1 is even. */
  entropy: number;
  /** (largest − mean) / mean, of all loads taken together; 0 is even. */
  maxVioGlobal: number;
  /** Units without any load. */
  dead: number;
}

export const statisticNames = [
  'maxOverMean',
  'balancedness',
  'gini',
  'coefficientOfVariation',
  'entropy',
  'maxVioGlobal',
  'dead',
] as const satisfies readonly (keyof LoadStatistics)[];

/** Statistics of loads; those of even ones where there is no load at all, all units being dead. */
export function loadStatistics(loads: Float64Array): LoadStatistics {
  const units = loads.length;
  const sorted = loads.slice().sort();
  const total = sorted.reduce((sum, load) => sum + load, 0);
  if (total === 0) {
    const even = { maxOverMean: 1, balancedness: 1, gini: 0, coefficientOfVariation: 0, entropy: 1 };
    return { ...even, maxVioGlobal: 0, dead: units };
  }
  const mean = total / units;
  const largest = sorted[units - 1];
  let ranked = 0;
  let squares = 0;
  let entropy = 0;
  let dead = 0;
  for (let i = 0; i < units; i++) {
    const load = sorted[i];
    ranked += (i + 1) * load;
    squares += load * load;
    if (load === 0) dead++;
    else entropy -= (load / total) * Math.log(load / total);
  }
  return {
    maxOverMean: largest / mean,
    balancedness: mean / largest,
    gini: (2 * ranked) / (units * total) - (units + 1) / units,
    coefficientOfVariation: Math.sqrt(Math.max(0, squares / units / (mean * mean) - 1)),
    entropy: units === 1 ? 1 : entropy / Math.log(units),
    maxVioGlobal: largest / mean - 1,
    dead,
  };
}

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
