/** Planning against the worst mixture, on a problem small enough to see. */
import { describe, expect, it } from 'vitest';
import { bestOf, planRobustly } from '../../src/robustness/plan-robustly.js';
import { worstMixture } from '../../src/robustness/worst-mixture.js';

/** Placements are 0 to 10 tenths of something that segment 0 needs and segment 1 lacks then. */
const problem = {
  given: [0.9, 0.1],
  radius: 1,
  rounds: 12,
  rate: 0.5,
  place: (weights: Float64Array) => Math.round(10 * weights[0]),
  cost: (tenths: number) => [2 - tenths / 10, 1 + tenths / 10],
};

describe('planning against the worst mixture', () => {
  const tried = planRobustly(problem);
  const best = bestOf(tried);

  it('begins with the plan for the given mixture', () => {
    expect([...tried[0].weights]).toEqual(problem.given);
    expect(tried[0].placed).toBe(9);
    expect(tried).toHaveLength(13);
  });

  it('keeps the best round, and what it says of it', () => {
    for (const own of tried) {
      expect(own.value).toBeCloseTo(worstMixture(own.costs, problem.given, problem.radius).value, 12);
      expect(own.value).toBeGreaterThanOrEqual(best.value);
    }
    expect(best.value).toBeLessThan(tried[0].value - 0.1);
  });

  it('without a radius keeps the plan for the given mixture where that is the best', () => {
    const mean = planRobustly({ ...problem, radius: 0 });
    expect(bestOf(mean)).toBe(mean[0]);
  });

  it('stays where all segments cost the same', () => {
    const same = planRobustly({ ...problem, cost: () => [1, 1] });
    for (const { weights } of same) expect([...weights]).toEqual(problem.given);
  });
});
