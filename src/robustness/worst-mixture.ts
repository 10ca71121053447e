/** The mixture of segments that costs most among those within a radius of the given one. */
export interface Mixture {
  /** Its cost: the sum of weight · cost. */
  value: number;
  /** Weight of every segment; they sum to 1. */
  weights: Float64Array;
  /** Kullback-Leibler divergence of the weights from the given ones, nats. */
  divergence: number;
  /**
   * τ of weights ∝ given · exp(cost / τ), in the unit of costs: Infinity at radius 0 and where all costs are equal, 0
   * where only the most expensive segments are left.
   */
  temperature: number;
}

/** Steps of bisection, each of which halves the logarithm's interval: more than doubles can tell apart. */
const BISECTIONS = 200;

/** The radius at which only the most expensive of equally weighted segments is left; of others, that of the lightest. */
export function largestRadius(given: ArrayLike<number>): number {
  return -Math.log(Array.from(given).reduce((least, weight) => Math.min(least, weight), 1));
}

/** Equal weights. */
export function equalWeights(segments: number): Float64Array {
  return new Float64Array(segments).fill(1 / segments);
}

/**
 * max over q with KL(q ‖ given) ≤ radius of Σ q · cost, whose optimum is q ∝ given · exp(cost / τ) with the τ at which
 * the divergence is the radius (the likelihood ratio of Michel, Hashimoto and Neubig, arXiv 2204.06340, without a
 * parametric form). The divergence grows with 1/τ, so that bisection finds it.
 * @param costs of every segment, finite
 * @param given weights, positive, which sum to 1
 * @param radius nats, ≥ 0
 */
export function worstMixture(costs: ArrayLike<number>, given: ArrayLike<number>, radius: number): Mixture {
  const all = Array.from(costs);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const range = high - low;
  if (radius === 0 || range === 0) return mixtureAt(all, given, 0, high);
  const worst = all.reduce((sum, cost, i) => (cost === high ? sum + given[i] : sum), 0);
  if (radius >= -Math.log(worst)) return onlyWorst(all, given, high, worst);
  let [below, above] = [0, 1 / range];
  while (divergenceAt(all, given, above, high) < radius) {
    below = above;
    above *= 2;
    // Costs that differ by rounding alone are the same.
    if (!Number.isFinite(above)) return onlyWorst(all, given, high, worst);
  }
  for (let i = 0; i < BISECTIONS; i++) {
    const middle = (below + above) / 2;
    if (divergenceAt(all, given, middle, high) < radius) below = middle;
    else above = middle;
  }
  return mixtureAt(all, given, above, high);
}

/** @param inverse 1/τ */
function mixtureAt(
  costs: readonly number[],
  given: ArrayLike<number>,
  inverse: number,
  high: number,
): Mixture {
  const weights = weightsAt(costs, given, inverse, high);
  return {
    value: costs.reduce((sum, cost, i) => sum + weights[i] * cost, 0),
    weights,
    divergence: divergence(weights, given),
    temperature: inverse === 0 ? Infinity : 1 / inverse,
  };
}

function onlyWorst(costs: readonly number[], given: ArrayLike<number>, high: number, worst: number): Mixture {
  const weights = Float64Array.from(costs, (cost, i) => (cost === high ? given[i] / worst : 0));
  return { value: high, weights, divergence: divergence(weights, given), temperature: 0 };
}

function divergenceAt(
  costs: readonly number[],
  given: ArrayLike<number>,
  inverse: number,
  high: number,
): number {
  return divergence(weightsAt(costs, given, inverse, high), given);
}

function weightsAt(
  costs: readonly number[],
  given: ArrayLike<number>,
  inverse: number,
  high: number,
): Float64Array {
  const weights = Float64Array.from(costs, (cost, i) => given[i] * Math.exp((cost - high) * inverse));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

/** KL(weights ‖ given), nats. */
function divergence(weights: ArrayLike<number>, given: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) {
    if (weights[i] > 0) sum += weights[i] * Math.log(weights[i] / given[i]);
  }
  // Rounding must not make a divergence of nothing negative.
  return Math.max(0, sum);
}
