import { worstMixture } from './worst-mixture.js';

/** A placement that was planned for a mixture of segments, with its cost in each. */
export interface PlannedCosts<Placed> {
  placed: Placed;
  /** Weights of the segments that it was planned for. */
  weights: Float64Array;
  costs: readonly number[];
  /** Cost of the worst mixture within the radius. */
  value: number;
}

export interface RobustPlanning<Placed> {
  /** Weights of the segments as they are. */
  given: ArrayLike<number>;
  /** Of the mixtures to plan against, nats. */
  radius: number;
  rounds: number;
  /** Share of the way to the worst weights that a round goes, in (0, 1]. */
  rate: number;
  place: (weights: Float64Array) => Placed;
  /** Cost of every segment. */
  cost: (placed: Placed) => readonly number[];
}

/** Temperatures below this share of the range of costs would forget all segments but one at once. */
const COLDEST = 0.05;

/**
 * Plans against the worst mixture: a placement for the weights, the worst weights for the placement, and so on, each
 * time part of the way. Placements are discrete, so that nothing converges for sure: the best of all rounds counts, the
 * one planned for the given weights among them.
 * @returns every round, that of the given weights first
 */
export function planRobustly<Placed>(planning: RobustPlanning<Placed>): PlannedCosts<Placed>[] {
  const { given, radius, rounds, rate, place, cost } = planning;
  const tried: PlannedCosts<Placed>[] = [];
  let weights: Float64Array = Float64Array.from(given);
  for (let round = 0; round <= rounds; round++) {
    const placed = place(weights);
    const costs = cost(placed);
    const { value, temperature } = worstMixture(costs, given, radius);
    tried.push({ placed, weights, costs, value });
    weights = towards(weights, costs, temperature, rate);
  }
  return tried;
}

/** The best of some rounds; the first of equals. */
export function bestOf<Placed>(tried: readonly PlannedCosts<Placed>[]): PlannedCosts<Placed> {
  return tried.reduce((best, own) => (own.value < best.value ? own : best));
}

/** weights^(1 − rate) · exp(rate · cost / τ), normalised. */
function towards(
  weights: Float64Array,
  costs: readonly number[],
  temperature: number,
  rate: number,
): Float64Array {
  const high = Math.max(...costs);
  const range = high - Math.min(...costs);
  if (range === 0) return weights;
  const warm = Math.max(temperature, COLDEST * range);
  const next = weights.map((weight, i) => weight ** (1 - rate) * Math.exp((rate * (costs[i] - high)) / warm));
  const sum = next.reduce((total, weight) => total + weight, 0);
  return next.map((weight) => weight / sum);
}
