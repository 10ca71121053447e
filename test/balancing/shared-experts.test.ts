import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { contiguous, policies } from '../../src/balancing/index.js';
import { SharedDispatch } from '../../src/balancing/dispatch/shared-experts.js';
import type { ScenarioInput } from '../../src/scenario/index.js';
import { simulateScenario } from '../simulation/random-scenario.js';

/** Copies of shared experts by source and GPU, for loads of experts that stay at home. */
function divided(rule: 'own-gpu' | 'waterfill', loads: number[], tokens: number[], experts = 1): number[][] {
  const gpus = tokens.length;
  const view = {
    step: 0,
    layer: 0,
    counts: new Int32Array(0),
    loads: Float64Array.from(loads),
    tokensBySource: Int32Array.from(tokens),
    tokens: null,
    seed: 1,
  };
  const { copies } = new SharedDispatch(rule, gpus, experts).divide(
    contiguous(gpus, loads.length, 16),
    view,
    null,
  );
  return tokens.map((_, source) => [...copies.subarray(source * gpus, (source + 1) * gpus)]);
}

describe('shared experts', () => {
  it('own-gpu: every token is computed where it is', () => {
    expect(divided('own-gpu', [10, 2], [4, 3])).toEqual([
      [4, 0],
      [0, 3],
    ]);
  });

  it('waterfill: the GPUs with least to do are raised to one level', () => {
    // 10 and 2 copies, 8 tokens: all go to GPU 1, which has 10 then.
    expect(divided('waterfill', [10, 2], [4, 4])).toEqual([
      [0, 4],
      [0, 4],
    ]);
    // 10, 6 and 2 copies, 9 tokens: GPUs 1 and 2 rise to 8.5, in whole tokens to 8 and 9; GPU 1 keeps two of its own.
    expect(divided('waterfill', [10, 6, 2], [3, 3, 3])).toEqual([
      [0, 0, 3],
      [0, 2, 1],
      [0, 0, 3],
    ]);
    // Two shared experts: every token raises a GPU by two.
    expect(divided('waterfill', [8, 0], [2, 4], 2)).toEqual([
      [1, 1],
      [0, 4],
    ]);
  });

  test.prop([
    fc.array(fc.nat(100), { minLength: 8, maxLength: 8 }),
    fc.array(fc.nat(60), { minLength: 4, maxLength: 4 }),
    fc.constantFrom(1, 2, 3),
  ])(
    'waterfill: every token once, and the largest load no larger than if every token stayed',
    (loads, tokens, n) => {
      const routed = [0, 1, 2, 3].map((gpu) => loads[2 * gpu] + loads[2 * gpu + 1]);
      const loadsWith = (copies: number[][]) =>
        routed.map((load, gpu) => load + n * copies.reduce((sum, row) => sum + row[gpu], 0));
      const copies = divided('waterfill', loads, tokens, n);
      expect(copies.map((row) => row.reduce((sum, count) => sum + count, 0))).toEqual(tokens);
      // Whole tokens: one too many on a GPU is n copies.
      const most = Math.max(...loadsWith(copies));
      expect(most).toBeLessThan(Math.max(...loadsWith(divided('own-gpu', loads, tokens, n))) + n);
      const total = loadsWith(copies).reduce((sum, load) => sum + load, 0);
      expect(most).toBeLessThanOrEqual(Math.max(...routed, Math.ceil(total / 4) + n));
    },
  );

  const scenario: ScenarioInput = {
    model: { hiddenSize: 2048, expertHiddenSize: 1024, experts: 32, topK: 4, sharedExperts: 1 },
    cluster: { gpu: 'h100', gpus: 8, gpusPerNode: 8 },
    runtime: 'ideal',
    workload: { phase: 'prefill', tokensPerGpu: 4096, steps: 10, routing: { kind: 'zipf', exponent: 0.7 } },
    policies: [
      'ep',
      { kind: 'combination', sharedExperts: 'own-gpu' },
      { kind: 'combination', sharedExperts: 'waterfill' },
    ],
  };

  it('in a layer: waterfill balances what the routed experts leave unequal, and sends the shared expert', async () => {
    const { policies: results } = await simulateScenario(scenario);
    const [ep, own, filled] = results;
    expect(filled.imbalance.gpu.after.maxOverMean).toBeLessThan(own.imbalance.gpu.after.maxOverMean);
    expect(filled.stepLatency.mean).toBeLessThan(own.stepLatency.mean);
    expect(filled.bytes.dispatch).toBeGreaterThan(own.bytes.dispatch);
    // On its own GPU the shared expert travels nowhere, and every GPU holds its weights.
    expect(own.bytes.dispatch).toBe(ep.bytes.dispatch);
    const weights = (result: typeof ep) => result.peakMemory.byCategory.weights;
    expect(weights(own) - weights(ep)).toBe(3 * 2048 * 1024 * 2);
  });

  it('is refused for a model without shared experts', async () => {
    const without = {
      ...scenario,
      model: { ...(scenario.model as object), sharedExperts: 0 },
    } as ScenarioInput;
    await expect(simulateScenario(without)).rejects.toThrow('policies[1].sharedExperts: found own-gpu');
    expect(policies.find(({ kind }) => kind === 'eplb')!.options.parse({ kind: 'eplb' })).toMatchObject({
      sharedExperts: 'none',
    });
  });
});
