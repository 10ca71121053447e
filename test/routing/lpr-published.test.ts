import { describe, expect, it } from 'vitest';
import { loadStatistics } from '../../src/metrics/index.js';
import { generators, generatorSource } from '../../src/routing/index.js';
import { calibratedPopularity } from '../../src/routing/generators/lpr-published.js';

const setting = { experts: 128, topK: 8 };

function drawn(kind: string, tokensPerGpu: number) {
  const generator = generators.find((known) => known.kind === kind)!;
  const options = generator.options.parse({ kind });
  const source = generatorSource({
    options,
    setting: { ...setting, gpus: 8, routerGroups: 1, topGroups: 1, tokensPerGpu },
    layerIds: [0],
    steps: 2,
    seed: 1,
  });
  const stream = source.start();
  return [stream.next()!, stream.next()!].map(({ layers }) => {
    const loads = new Float64Array(setting.experts);
    layers[0].counts.forEach((copies, i) => (loads[i % setting.experts] += copies));
    return loads;
  });
}

// Figures of arXiv 2506.21328: Gini 0.70 → 0.035, least over largest load 1e-6 → 0.70.
describe("the load statistics that LPR publishes, in 8 · 50,000 tokens' copies", () => {
  it('lpr-baseline: Gini 0.70, and dead experts', () => {
    for (const loads of drawn('lpr-baseline', 50_000)) {
      const { gini, dead } = loadStatistics(loads);
      expect(gini).toBeCloseTo(0.7, 2);
      expect(dead).toBe(13);
    }
  });

  it('lpr-routed: Gini 0.035, least over largest load 0.70', () => {
    for (const loads of drawn('lpr-routed', 50_000)) {
      expect(loadStatistics(loads).gini).toBeCloseTo(0.035, 2);
      expect(Math.min(...loads) / Math.max(...loads)).toBeCloseTo(0.7, 1.5);
    }
  });

  it('the same experts are popular in all steps', () => {
    const [first, second] = drawn('lpr-baseline', 1000).map((loads) => loads.indexOf(Math.max(...loads)));
    expect(first).toBe(second);
  });

  it('the expected shares are exact, whatever the model', () => {
    for (const [experts, topK] of [
      [16, 2],
      [32, 4],
      [256, 8],
    ]) {
      const popularity = calibratedPopularity({ experts, topK }, 0.035, 0.7);
      expect(Math.min(...popularity) / Math.max(...popularity)).toBeCloseTo(0.7, 12);
      expect(loadStatistics(popularity).gini).toBeCloseTo(0.035, 9);
    }
  });

  it('refuses models that can not have them', () => {
    expect(() => calibratedPopularity({ experts: 8, topK: 2 }, 0.7, 0)).toThrow(
      'found 8 experts, allowed: at least 16',
    );
    expect(() => calibratedPopularity({ experts: 16, topK: 8 }, 0.7, 0)).toThrow(
      'allowed: a model whose loads can have',
    );
  });
});
