import { describe, expect, it } from 'vitest';
import { parseScenario } from '../../src/scenario/index.js';
import { openScenario } from '../../src/run.js';
import type { ScenarioInput } from '../../src/scenario/index.js';
import { simulateScenario } from '../simulation/random-scenario.js';

function scenario(runtime: object, routing: object = { kind: 'balanced' }): ScenarioInput {
  return {
    model: 'qwen3-30b-a3b',
    cluster: '8xh100',
    runtime: {
      preset: 'allgather-reducescatter',
      capturedTokens: [2048],
      ...runtime,
    },
    workload: { phase: 'prefill', tokensPerGpu: 2048, steps: 1, routing },
    policies: ['ep'],
  };
}

async function ep(from: ScenarioInput) {
  return (await simulateScenario(from)).policies[0];
}

describe('tensor parallelism', () => {
  it('of experts: skew within a group is gone, nothing more is sent', async () => {
    const hot = { kind: 'hot-experts', share: 0.5, experts: 4, pattern: 'distinct', permute: false };
    const [whole, pairs, all] = [
      await ep(scenario({}, hot)),
      await ep(scenario({ expertTensorParallel: 2 }, hot)),
      await ep(scenario({ expertTensorParallel: 8 }, hot)),
    ];
    expect(pairs.bytes).toEqual(whole.bytes);
    const slowest = (of: typeof whole) => of.time.critical.experts!;
    expect(slowest(pairs)).toBeLessThan(0.75 * slowest(whole));
    expect(slowest(all)).toBeLessThan(slowest(pairs));
    // All GPUs in one group have one load: nobody waits for experts.
    expect(all.time.waiting).toBeCloseTo(0, 12);
    // Slices are narrower and move the same hidden states: on even load they lose.
    const even = [await ep(scenario({})), await ep(scenario({ expertTensorParallel: 8 }))].map(slowest);
    expect(even[1]).toBeGreaterThan(1.1 * even[0]);
  });

  it('of attention: hidden states are summed before the router and gathered after the layer', async () => {
    const [alone, four] = [await ep(scenario({})), await ep(scenario({ attentionTensorParallel: 4 }))];
    // Twice three GPUs' tokens of 2048 · 2 bytes each, by NVLink of 316 GB/s, its latency and ramp beside it.
    const bytes = 3 * 2048 * 2048 * 2;
    const exchange =
      8.6624168478665e-6 + 4.1654594522355305e-9 * Math.sqrt(bytes) + bytes / 316384695911.8595;
    expect(four.time.phases['attention-exchange']).toBeCloseTo(2 * exchange, 9);
    expect(four.stepLatency.mean - alone.stepLatency.mean).toBeCloseTo(2 * exchange, 9);
    expect(four.peakMemory.byCategory.activations).toBe(4 * alone.peakMemory.byCategory.activations);
    expect(four.bytes).toEqual(alone.bytes);
  });

  it('groups that cross nodes are refused', async () => {
    parseScenario(scenario({ expertTensorParallel: 3 }), 'scenario');
    await expect(openScenario(scenario({ expertTensorParallel: 3 }))).rejects.toThrow(
      /runtime\.expertTensorParallel: found 3, allowed: a divisor of gpusPerNode = 8/,
    );
  });
});
