/**
 * How many independent samples a series of correlated ones is worth: n / (1 + 2 Σ ρ), the autocorrelations
 * summed as long as the sums of neighbouring pairs are positive (Geyer's initial positive sequence, 1992).
 * At most n; n for a constant series.
 */
export function effectiveSize(series: Float64Array): number {
  const n = series.length;
  if (n < 4) return n;
  let mean = 0;
  for (const x of series) mean += x / n;
  const covariance = (lag: number) => {
    let sum = 0;
    for (let i = lag; i < n; i++) sum += (series[i] - mean) * (series[i - lag] - mean);
    return sum / n;
  };
  const variance = covariance(0);
  // Differences of rounding are no variance.
  if (variance <= 1e-20 * mean * mean) return n;
  let sum = 0;
  for (let lag = 1; lag + 1 < n; lag += 2) {
    const pair = (covariance(lag) + covariance(lag + 1)) / variance;
    if (pair <= 0) break;
    sum += pair;
  }
  return Math.min(n, n / (1 + 2 * sum));
}

/**
 * Whether any layer takes another time in another step, by more than rounding.
 * @param samples seconds, [step · layers + layer]
 */
export function variesBetweenSteps(samples: Float64Array, layers: number): boolean {
  return samples.some((seconds, i) => Math.abs(seconds - samples[i % layers]) > 1e-10 * seconds);
}
