import { describe, expect, it } from 'vitest';
import { generators, generatorSource } from '../../src/routing/index.js';

const GPUS = 8;
const EXPERTS = 16;
const TOKENS = 2000;

/** Loads of every topic of four GPUs, in one step. */
function topicLoads(options: object): { loads: number[][]; tokens: boolean } {
  const generator = generators.find(({ kind }) => kind === 'source-topics')!;
  const source = generatorSource({
    options: generator.options.parse({ kind: 'source-topics', gpusPerTopic: 4, ...options }),
    setting: { gpus: GPUS, experts: EXPERTS, topK: 2, routerGroups: 1, topGroups: 1, tokensPerGpu: TOKENS },
    layerIds: [0],
    steps: 1,
    seed: 1,
  });
  const [{ counts, tokens }] = source.start().next()!.layers;
  const loads = [0, 1].map(() => new Array<number>(EXPERTS).fill(0));
  for (let gpu = 0; gpu < GPUS; gpu++) {
    const row = [...counts.slice(gpu * EXPERTS, (gpu + 1) * EXPERTS)];
    expect(row.reduce((a, b) => a + b)).toBe(2 * TOKENS);
    row.forEach((copies, e) => (loads[Math.floor(gpu / 4)][e] += copies));
  }
  if (tokens) {
    const again = new Array<number>(GPUS * EXPERTS).fill(0);
    tokens.experts.forEach((e, copy) => again[tokens.source[Math.floor(copy / 2)] * EXPERTS + e]++);
    expect(again).toEqual([...counts]);
  }
  return { loads, tokens: tokens !== null };
}

/** Correlation of the loads of two topics. */
function correlation([a, b]: number[][]): number {
  const mean = (2 * TOKENS * 4) / EXPERTS;
  const product = (x: number[], y: number[]) =>
    x.reduce((sum, own, e) => sum + (own - mean) * (y[e] - mean), 0);
  return product(a, b) / Math.sqrt(product(a, a) * product(b, b));
}

describe('source-topics', () => {
  it.each([false, true])('draws as many copies as tokens make, token by token too: %s', (tokens) => {
    expect(topicLoads({ tokens }).tokens).toBe(tokens);
  });

  it('gives topics popular experts of their own, or all the same', () => {
    expect(correlation(topicLoads({ sigma: 1, shared: 1 }).loads)).toBeGreaterThan(0.99);
    expect(Math.abs(correlation(topicLoads({ sigma: 1, shared: 0 }).loads))).toBeLessThan(0.6);
  });

  it.each([0, 0.25, 0.7])('sends the share %s of the copies home', (homeShare) => {
    const { loads } = topicLoads({ sigma: 0, homeShare });
    // Experts 0 to 7 are at home on GPUs 0 to 3, the others on GPUs 4 to 7.
    const home = [0, 1].map((topic) => loads[topic].slice(8 * topic, 8 * topic + 8).reduce((a, b) => a + b));
    for (const copies of home) expect(copies / (2 * TOKENS * 4)).toBeCloseTo(homeShare, 1);
  });

  it('refuses topics that do not divide the GPUs', () => {
    expect(() => topicLoads({ gpusPerTopic: 3 })).toThrow('gpusPerTopic: found 3 for 8 GPUs');
  });
});
