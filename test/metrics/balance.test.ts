/** Balance metrics as engines define them, worked out on paper. */
import { describe, expect, it } from 'vitest';
import { balanceMetrics, BalanceSeries } from '../../src/metrics/index.js';

/** Metrics of steps of layers of loads. */
function balanceOf(steps: number[][][], window: number | null = null) {
  const series = new BalanceSeries(steps[0].length, steps[0][0].length, window);
  for (const layers of steps) layers.forEach((loads, layer) => series.add(layer, Float64Array.from(loads)));
  return { series, ...series.finish() };
}

describe('balance metrics', () => {
  it('of two layers: loads 30 10 20 20 (mean 20, max 30) and 4 4 4 4', () => {
    const { steps } = balanceOf([
      [
        [30, 10, 20, 20],
        [4, 4, 4, 4],
      ],
    ]);
    const shares = [3 / 8, 1 / 8, 1 / 4, 1 / 4];
    const entropy = -shares.reduce((sum, p) => sum + p * Math.log(p), 0);
    const expected: Record<string, number> = {
      maxOverMean: (1.5 + 1) / 2,
      worstMaxOverMean: 1.5,
      imbalanceRatio: (0.5 + 0) / 2,
      sglangBalancedness: (20.00001 / 30.00001 + 1) / 2,
      // Ratio of sums, and so nearer to the busy layer: (20 + 4)/(30 + 4), not (2/3 + 1)/2.
      vllmBalancedness: 24 / 34,
      vllmBalancednessMin: 2 / 3,
      vllmBalancednessP50: (2 / 3 + 1) / 2,
      vllmBalancednessP90: 2 / 3 + 0.1 / 3,
      vllmBalancednessAvg: (2 / 3 + 1) / 2,
      wastedShare: 10 / 34,
      minOverMax: (1 / 3 + 1) / 2,
      // Squares of the deviations: 100 + 100, over 4.
      coefficientOfVariation: Math.sqrt(50) / 20 / 2,
      // Of the pairs, 30 and 10 differ by 20, each of them from two 20s by 10: 20 + 4 · 10 = 60, both ways.
      gini: (2 * 60) / (2 * 16 * 20) / 2,
      entropy: (entropy / Math.log(4) + 1) / 2,
      klToUniform: (Math.log(4) - entropy) / 2,
    };
    expect(Object.keys(steps)).toEqual(Object.keys(expected));
    for (const [key, value] of Object.entries(expected)) expect(steps[key], key).toBeCloseTo(value, 12);
  });

  it('has the value that it names where all loads are equal, and where there is none', () => {
    for (const loads of [
      [7, 7, 7],
      [0, 0, 0],
    ]) {
      const { steps } = balanceOf([[loads]]);
      for (const { key, even } of balanceMetrics) expect(steps[key], key).toBeCloseTo(even, 12);
    }
  });

  it('a window hides what every step shows: the hot GPU changes sides', () => {
    const { steps, windows, imbalanceRatioDeviation } = balanceOf([[[30, 10]], [[10, 30]]], 2);
    expect(steps.vllmBalancedness).toBeCloseTo(20 / 30, 12);
    expect(windows!.vllmBalancedness).toBe(1);
    expect(imbalanceRatioDeviation).toBe(0);
  });

  it('windows follow each other, and what is left over at the end does not count', () => {
    const { windows } = balanceOf([[[4, 0]], [[0, 4]], [[4, 0]], [[4, 0]], [[0, 4]]], 2);
    expect(windows!.maxOverMean).toBe((1 + 2) / 2);
    expect(balanceOf([[[4, 0]], [[2, 2]]], 100).windows!.maxOverMean).toBe(1.5);
  });

  it('TensorRT-LLM’s deviation is over layers and iterations: ratios 0.5, 0, 0, 0.5', () => {
    const { imbalanceRatioDeviation } = balanceOf([
      [
        [3, 1],
        [2, 2],
      ],
      [
        [1, 1],
        [1, 3],
      ],
    ]);
    expect(imbalanceRatioDeviation).toBeCloseTo(Math.sqrt((4 * 0.25 ** 2) / 3), 12);
  });

  it('gives every layer of every step alone', () => {
    const { series } = balanceOf([
      [
        [3, 1],
        [2, 2],
      ],
    ]);
    const keys = balanceMetrics.filter(({ ofLayers }) => ofLayers).map(({ key }) => key);
    const of = (layer: number) =>
      Object.fromEntries(keys.map((key, i) => [key, series.valuesOf(0, layer)[i]]));
    expect(of(0)).toMatchObject({
      maxOverMean: 1.5,
      minOverMax: 1 / 3,
      coefficientOfVariation: 0.5,
      gini: 0.25,
    });
    expect(of(1)).toMatchObject({ maxOverMean: 1, minOverMax: 1, coefficientOfVariation: 0, gini: 0 });
  });
});
