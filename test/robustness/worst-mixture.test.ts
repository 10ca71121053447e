/** The worst mixture within a radius: its identities, and its value against the dual problem. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { equalWeights, largestRadius, worstMixture } from '../../src/robustness/worst-mixture.js';
import '../seed.js';

/** Costs of two to twelve segments, and weights that sum to 1. */
const problems = fc
  .array(
    fc.record({
      cost: fc.double({ min: 1e-6, max: 1e6, noNaN: true }),
      weight: fc.double({ min: 0.01, max: 1, noNaN: true }),
    }),
    { minLength: 2, maxLength: 12 },
  )
  .map((segments) => {
    const sum = segments.reduce((total, { weight }) => total + weight, 0);
    return { costs: segments.map(({ cost }) => cost), given: segments.map(({ weight }) => weight / sum) };
  });

/** Radius at which only the most expensive segments are left. */
function saturation(costs: readonly number[], given: readonly number[]): number {
  const high = Math.max(...costs);
  return -Math.log(given.reduce((sum, weight, i) => (costs[i] === high ? sum + weight : sum), 0));
}

/** min over τ > 0 of τ κ + τ ln Σ given · exp(cost / τ), a convex problem, by golden sections of ln τ. */
function dual(costs: readonly number[], given: readonly number[], radius: number): number {
  const high = Math.max(...costs);
  const range = high - Math.min(...costs);
  const at = (logarithm: number) => {
    const temperature = range * Math.exp(logarithm);
    const sum = costs.reduce((total, cost, i) => total + given[i] * Math.exp((cost - high) / temperature), 0);
    return high + temperature * (radius + Math.log(sum));
  };
  const golden = (Math.sqrt(5) - 1) / 2;
  let [from, to] = [-30, 30];
  for (let i = 0; i < 200; i++) {
    const [left, right] = [to - golden * (to - from), from + golden * (to - from)];
    if (at(left) < at(right)) to = right;
    else from = left;
  }
  return at((from + to) / 2);
}

describe('the worst mixture of segments', () => {
  it('at radius 0 is the given one, and costs the mean', () => {
    fc.assert(
      fc.property(problems, ({ costs, given }) => {
        const { value, weights, divergence } = worstMixture(costs, given, 0);
        const mean = costs.reduce((sum, cost, i) => sum + given[i] * cost, 0);
        expect(value / mean).toBeCloseTo(1, 12);
        expect(divergence).toBeLessThan(1e-12);
        weights.forEach((weight, i) => expect(weight).toBeCloseTo(given[i], 12));
      }),
    );
  });

  it('at a large radius is the worst segment', () => {
    fc.assert(
      fc.property(problems, fc.double({ min: 0, max: 3, noNaN: true }), ({ costs, given }, beyond) => {
        const { value, temperature } = worstMixture(costs, given, largestRadius(given) + beyond);
        expect(value).toBe(Math.max(...costs));
        if (new Set(costs).size > 1) expect(temperature).toBe(0);
      }),
    );
    const { value, weights } = worstMixture([1, 5, 2, 3], equalWeights(4), Math.log(4));
    expect([value, [...weights]]).toEqual([5, [0, 1, 0, 0]]);
  });

  it('costs no less with a larger radius', () => {
    fc.assert(
      fc.property(
        problems,
        fc.array(fc.double({ min: 0, max: 6, noNaN: true })),
        ({ costs, given }, radii) => {
          const values = radii
            .sort((a, b) => a - b)
            .map((radius) => worstMixture(costs, given, radius).value);
          values.forEach((value, i) =>
            expect(value).toBeGreaterThanOrEqual((values[i - 1] ?? 0) * (1 - 1e-12)),
          );
        },
      ),
    );
  });

  it('has a divergence equal to the radius, ± 1e-6', () => {
    fc.assert(
      fc.property(problems, fc.double({ min: 1e-3, max: 0.999, noNaN: true }), ({ costs, given }, share) => {
        fc.pre(new Set(costs).size > 1);
        const radius = share * saturation(costs, given);
        const { weights, divergence } = worstMixture(costs, given, radius);
        const own = weights.reduce((sum, q, i) => (q === 0 ? sum : sum + q * Math.log(q / given[i])), 0);
        expect(Math.abs(own - radius)).toBeLessThan(1e-6);
        expect(divergence).toBeCloseTo(own, 12);
        expect(weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 12);
      }),
    );
  });

  it('costs what the convex dual says', () => {
    fc.assert(
      fc.property(problems, fc.double({ min: 0.01, max: 0.99, noNaN: true }), ({ costs, given }, share) => {
        fc.pre(new Set(costs).size > 1);
        const radius = share * saturation(costs, given);
        const range = Math.max(...costs) - Math.min(...costs);
        const { value } = worstMixture(costs, given, radius);
        // Costs that rounding alone tells apart have no range to speak of.
        const slack = 1e-6 * range + 1e-12 * value;
        expect(Math.abs(value - dual(costs, given, radius))).toBeLessThan(slack);
      }),
    );
  });

  it('of two segments, by hand: a third and two thirds cost 5/3 at radius ln 2 − H(1/3)', () => {
    const radius = Math.log(2) + (1 / 3) * Math.log(1 / 3) + (2 / 3) * Math.log(2 / 3);
    const { value, weights, temperature } = worstMixture([1, 2], [0.5, 0.5], radius);
    expect(value).toBeCloseTo(5 / 3, 9);
    expect(weights[0]).toBeCloseTo(1 / 3, 9);
    // exp((2 − 1) / τ) is the ratio of the weights, 2.
    expect(temperature).toBeCloseTo(1 / Math.log(2), 6);
  });
});
