import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import {
  effectiveSize,
  floorOfSkew,
  pairedRatio,
  resampledRatio,
  skewOf,
  summariseLatency,
  variesBetweenSteps,
} from '../../src/metrics/index.js';
import { TokenDraw } from '../../src/routing/inclusion.js';
import { randomStream } from '../../src/routing/index.js';

function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** A first-order autoregression with mean 100 and standard deviation 10. */
function correlated(n: number, rho: number, seed: string): Float64Array {
  const random = randomStream(1, seed);
  let x = normal(random);
  return Float64Array.from(
    { length: n },
    () => 100 + 10 * (x = rho * x + Math.sqrt(1 - rho * rho) * normal(random)),
  );
}

describe('effectiveSize', () => {
  it.each([0, 0.5, 0.8, 0.95])('of a series with autocorrelation %d is about n (1 − ρ)/(1 + ρ)', (rho) => {
    const estimates = Array.from({ length: 20 }, (_, i) => effectiveSize(correlated(5000, rho, `s${i}`)));
    const mean = estimates.reduce((a, b) => a + b, 0) / estimates.length;
    const expected = (5000 * (1 - rho)) / (1 + rho);
    expect(Math.abs(mean / expected - 1)).toBeLessThan(0.15);
  });

  it('is n for a constant series and never more', () => {
    expect(effectiveSize(new Float64Array(50).fill(0.1))).toBe(50);
    expect(effectiveSize(Float64Array.from({ length: 50 }, (_, i) => i % 2))).toBe(50);
    expect(effectiveSize(Float64Array.of(1, 2))).toBe(2);
  });
});

describe('variesBetweenSteps', () => {
  it('compares every layer with itself, beyond rounding', () => {
    expect(variesBetweenSteps(Float64Array.of(1, 2, 1, 2), 2)).toBe(false);
    expect(variesBetweenSteps(Float64Array.of(1, 2, 1, 2), 1)).toBe(true);
    expect(variesBetweenSteps(Float64Array.of(0.3, 0.1 + 0.2), 1)).toBe(false);
    expect(variesBetweenSteps(Float64Array.of(1), 1)).toBe(false);
  });
});

describe('summariseLatency', () => {
  it('uses R-7 quantiles', () => {
    // R: quantile(c(1, 2, 3, 4, 10), c(.5, .95, .99), type = 7)
    const { mean, p50, p95, p99, max, steps } = summariseLatency(Float64Array.of(10, 2, 3, 1, 4), 1);
    expect([mean, p50, max, steps]).toEqual([4, 3, 10, 5]);
    expect(p95).toBeCloseTo(8.8, 12);
    expect(p99).toBeCloseTo(9.76, 12);
  });

  it('counts each layer as a series of its own', () => {
    const samples = Float64Array.from({ length: 400 }, (_, i) =>
      i % 2 === 0 ? 5 : correlated(200, 0, 'x')[i >> 1],
    );
    expect(summariseLatency(samples, 2).effectiveSteps).toBeGreaterThan(300);
  });
});

describe('pairedRatio', () => {
  it('is exact for series that are multiples of each other', () => {
    const base = correlated(50, 0.5, 'base');
    const { mean, low, high } = pairedRatio(
      base,
      base.map((x) => x / 2),
    );
    expect([mean, low, high].map((x) => Math.round(x! * 1e9) / 1e9)).toEqual([2, 2, 2]);
  });

  it('gives no interval for a single step', () => {
    expect(pairedRatio(Float64Array.of(2), Float64Array.of(1))).toEqual({ mean: 2, low: null, high: null });
  });

  it('is 1 without an interval where one of the two takes no time, never NaN or Infinity', () => {
    const [some, none] = [Float64Array.of(1, 2), Float64Array.of(0, 0)];
    for (const [a, b] of [
      [some, none],
      [none, some],
      [none, none],
    ]) {
      expect(pairedRatio(a, b)).toEqual({ mean: 1, low: null, high: null });
    }
  });

  test.prop([fc.array(fc.tuple(ratios, ratios), { minLength: 1, maxLength: 40 })])(
    'holds its own point estimate',
    (steps) => {
      const { mean, low, high } = pairedRatio(
        Float64Array.from(steps, ([a]) => a),
        Float64Array.from(steps, ([, b]) => b),
      );
      expect(low ?? mean).toBeLessThanOrEqual(mean);
      expect(high ?? mean).toBeGreaterThanOrEqual(mean);
    },
  );

  it.each([0, 0.6])('covers the true ratio in about 90 %% of runs, autocorrelation %d', (rho) => {
    let covered = 0;
    const runs = 600;
    for (let run = 0; run < runs; run++) {
      const shared = correlated(80, rho, `shared${run}`);
      const own = correlated(80, rho, `own${run}`);
      const other = shared.map((x, i) => x / 2 + 0.1 * (own[i] - 100));
      const { low, high } = pairedRatio(shared, other);
      if (low! <= 2 && high! >= 2) covered++;
    }
    expect(covered / runs).toBeGreaterThan(0.84);
    expect(covered / runs).toBeLessThan(0.96);
  });
});

const ratios = fc.double({ min: 0.01, max: 100, noNaN: true });

describe('resampledRatio', () => {
  it('reaches t standard deviations of the log-ratios to both sides of the run’s own ratio', () => {
    // Logs −0.1, 0, 0.1: standard deviation 0.1; the 95 % quantile of Student's t is 2.919986 with 2 degrees.
    const { mean, low, high } = resampledRatio(
      2,
      [-0.1, 0, 0.1].map((x) => 1.5 * Math.exp(x)),
    );
    expect(mean).toBe(2);
    expect(low).toBeCloseTo(2 * Math.exp(-0.2919986), 6);
    expect(high).toBeCloseTo(2 * Math.exp(0.2919986), 6);
  });

  test.prop([ratios, fc.array(ratios, { minLength: 2, maxLength: 40 })])(
    'holds its own point estimate, wherever the replicates lie',
    (point, replicates) => {
      const { mean, low, high } = resampledRatio(point, replicates);
      expect(mean).toBe(point);
      expect(low!).toBeLessThanOrEqual(mean);
      expect(high!).toBeGreaterThanOrEqual(mean);
    },
  );

  it('gives no interval for a single replicate', () => {
    expect(resampledRatio(2, [1.9])).toEqual({ mean: 2, low: null, high: null });
  });
});

describe('skew', () => {
  it('is max over mean, with the population’s coefficient of variation', () => {
    const skew = skewOf([4, 0, 2, 2], { maxOverMean: 0, coefficientOfVariation: 0 });
    expect(skew.maxOverMean).toBe(2);
    expect(skew.coefficientOfVariation).toBeCloseTo(Math.SQRT1_2, 12);
    expect(skewOf([0, 0], skew)).toEqual({ maxOverMean: 1, coefficientOfVariation: 0 });
  });

  it.each([
    [64, 4, 32, 8],
    [64, 4, 32, 32],
    [2048, 8, 256, 64],
  ])(
    'floor: %i tokens, top %i of %i experts in %i groups equal a simulation token by token',
    (tokens, topK, experts, units) => {
      const draws = 400;
      const draw = new TokenDraw(new Float64Array(experts).fill(topK / experts), topK, 1, 1).reset(
        randomStream(9, 'floor'),
      );
      const picks = new Uint16Array(topK);
      let mean = 0;
      for (let d = 0; d < draws; d++) {
        const loads = new Float64Array(units);
        for (let t = 0; t < tokens; t++) {
          draw.draw(picks, 0);
          picks.forEach((e) => loads[Math.floor((e * units) / experts)]++);
        }
        mean += Math.max(...loads) / ((tokens * topK) / units) / draws;
      }
      expect(Math.abs(floorOfSkew(tokens, topK, experts, units) / mean - 1)).toBeLessThan(0.02);
    },
  );
});
