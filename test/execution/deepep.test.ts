import { describe, expect, it } from 'vitest';
import type { ScenarioInput } from '../../src/scenario/index.js';
import { simulateScenario } from '../simulation/random-scenario.js';

/** Microseconds of dispatch and combine of balanced traffic. */
async function exchange(
  runtime: ScenarioInput['runtime'],
  gpus: number,
  tokensPerGpu: number,
): Promise<{ dispatch: number; combine: number }> {
  const { policies } = await simulateScenario({
    // The tables' router picks experts at random, without groups.
    model: { preset: 'deepseek-v3', routerGroups: 1, topGroups: 1 },
    cluster: { gpu: 'h100', gpus, gpusPerNode: 8 },
    runtime,
    workload: { phase: 'decode', tokensPerGpu, steps: 1, routing: { kind: 'zipf', exponent: 0 } },
    policies: ['balanced'],
  });
  const { dispatch, combine } = policies.find(({ policy }) => policy.kind === 'balanced')!.time.phases;
  return { dispatch: dispatch! * 1e6, combine: combine! * 1e6 };
}

// Measured on H100, DeepSeek-V3's shape (ai-dynamo/aiconfigurator @ 095f58a): µs of dispatch and combine.
describe('exchanges of the DeepEP runtimes take what was measured', () => {
  it.each([
    [8, 37, 67],
    [16, 102, 186],
    [32, 143, 263],
    [64, 167, 305],
  ])('low latency, %i GPUs, 128 tokens: %d and %d', async (gpus, dispatch, combine) => {
    const predicted = await exchange('deepep-low-latency', gpus, 128);
    expect(Math.abs(predicted.dispatch / dispatch - 1)).toBeLessThan(0.12);
    expect(Math.abs(predicted.combine / combine - 1)).toBeLessThan(0.12);
  });

  it('normal, 8 GPUs, 4096 tokens: 492 and 983', async () => {
    const predicted = await exchange('deepep-normal', 8, 4096);
    expect(Math.abs(predicted.dispatch / 492 - 1)).toBeLessThan(0.12);
    expect(Math.abs(predicted.combine / 983 - 1)).toBeLessThan(0.12);
  });
});

const prefill: ScenarioInput = {
  model: 'deepseek-v3',
  cluster: '16xh100',
  runtime: 'deepep-normal',
  workload: { phase: 'prefill', tokensPerGpu: 2048, steps: 2, routing: { kind: 'zipf', exponent: 0.5 } },
  policies: ['ep'],
};

async function ep(runtime: ScenarioInput['runtime'], base = prefill, workload = {}) {
  const scenario = { ...base, runtime, workload: { ...base.workload, ...workload } };
  const { policies, routing } = await simulateScenario(scenario);
  return { ...policies[0], notes: routing.notes };
}

describe('overlap', () => {
  it('hides shared experts behind the dispatch, slowed by what the exchange holds', async () => {
    const few = { tokensPerGpu: 512 };
    const none = await ep({ preset: 'deepep-normal' }, prefill, few);
    const free = await ep({ preset: 'deepep-normal', overlap: 'shared-expert', slowdown: 1 }, prefill, few);
    const slow = await ep({ preset: 'deepep-normal', overlap: 'shared-expert' }, prefill, few);
    const shared = none.time.phases.shared!;
    expect(free.time.phases.shared).toBeCloseTo(shared, 12);
    // 24 of 132 multiprocessors, or the memory bandwidth of NVLink's bytes, whichever is more.
    const held = Math.max(24 / 132, (2 * 316.38e9) / 3.35e12);
    expect(slow.time.phases.shared! / shared).toBeCloseTo(1 / (1 - held), 3);
    expect(free.stepLatency.mean).toBeCloseTo(none.stepLatency.mean - shared, 6);
    expect(slow.notes.some((note) => note.includes('not measured'))).toBe(true);
  });

  it('two halves hide what one cannot, and pay their own launches, rounding and skew', async () => {
    const none = await ep({ preset: 'deepep-normal' });
    const halves = await ep({ preset: 'deepep-normal', overlap: 'two-batch' });
    expect(halves.stepLatency.mean).toBeLessThan(none.stepLatency.mean);
    expect(halves.time.phases.experts!).toBeGreaterThan(none.time.phases.experts!);
    const small = { phase: 'decode', tokensPerGpu: 8 };
    const [one, two] = [
      await ep({ preset: 'deepep-normal' }, prefill, small),
      await ep({ preset: 'deepep-normal', overlap: 'two-batch' }, prefill, small),
    ];
    // Weights are read twice, calls are paid twice: halving a small batch loses.
    expect(two.stepLatency.mean).toBeGreaterThan(one.stepLatency.mean);
  });
});

describe('waves', () => {
  it('trade time for memory: what did not fit at once fits in waves', async () => {
    const at = { tokensPerGpu: 65_536, routing: { kind: 'hot-experts', share: 0.5, experts: 4 } };
    const whole = await ep({ preset: 'deepep-normal' }, prefill, at);
    const waves = await ep({ preset: 'deepep-normal', maxTokensPerWave: 8192 }, prefill, at);
    expect(whole.oom).not.toBeNull();
    expect(waves.oom).toBeNull();
    expect(waves.stepLatency.mean).toBeGreaterThan(whole.stepLatency.mean);
    expect(waves.notes.some((note) => note.includes('8 waves'))).toBe(true);
    // Every token travels once in either.
    expect(waves.bytes.dispatch / whole.bytes.dispatch).toBeGreaterThan(0.97);
    expect(waves.bytes.dispatch / whole.bytes.dispatch).toBeLessThan(1.03);
  });
});

describe('host', () => {
  const decode: ScenarioInput = {
    ...prefill,
    workload: { phase: 'decode', tokensPerGpu: 60, steps: 2, routing: { kind: 'zipf', exponent: 0.5 } },
  };

  it('a graph needs no host; one kernel after another is launched for a policy that plans on it', async () => {
    const policies: ScenarioInput['policies'] = ['ep', { kind: 'eplb', dispatch: 'lp' }];
    const run = async (planner: 'host' | 'gpu' | 'published') => {
      const runtime = { preset: 'deepep-low-latency', planner } as const;
      return simulateScenario({ ...decode, runtime, policies });
    };
    const [host, gpu] = [await run('host'), await run('gpu')];
    expect(host.policies[0].time.phases.host).toBeUndefined();
    // 7 kernels of 6 µs; reading counts takes 10 µs and planning 200.
    expect(host.policies[1].time.phases.host).toBeCloseTo(7 * 6e-6, 12);
    expect(host.policies[1].time.phases.plan).toBeCloseTo(210e-6, 12);
    expect(gpu.policies[1].time.phases.host).toBeUndefined();
    // LPLB's figure for its solver.
    expect(gpu.policies[1].time.phases.plan).toBeCloseTo(100e-6, 12);
    expect(host.routing.notes.some((note) => note.includes('leave the CUDA graph: 7 launches'))).toBe(true);
    expect(host.policies[1].stepLatency.mean).toBeGreaterThan(gpu.policies[1].stepLatency.mean);
    expect((await run('published')).policies).toEqual(gpu.policies);
  });

  it.each([
    // METRO's and Waterfill's are guesses.
    [{ kind: 'eplb', dispatch: 'fewest-active' }, 20, true],
    [{ kind: 'eplb', sharedExperts: 'waterfill' }, 10, true],
    [{ kind: 'eplb', dispatch: 'lp', sharedExperts: 'waterfill' }, 110, true],
    // Nobody has published a kernel for these.
    [{ kind: 'llep', minTokensPerGemm: 1, imbalanceThreshold: 1 }, 210, false],
    [{ kind: 'eplb', dispatch: 'least-loaded' }, 210, false],
  ] satisfies [ScenarioInput['policies'][number], number, boolean][])(
    'who plans is as published: %j plans for %f µs',
    async (policy, microseconds, byKernel) => {
      const { policies, routing } = await simulateScenario({
        ...decode,
        model: { preset: decode.model as string, sharedExperts: 1 },
        runtime: { preset: 'deepep-low-latency', postSecondsPerTransfer: 0 },
        policies: [policy],
      });
      const { phases } = policies[0].time;
      expect(phases.plan! * 1e6).toBeCloseTo(microseconds, 6);
      expect(phases.host === undefined).toBe(byKernel);
      expect(routing.notes.some((note) => note.includes('by a kernel takes'))).toBe(byKernel);
    },
  );

  it('UltraEP plans by its kernel; hosts read the plan only where they post weights', async () => {
    const policies: ScenarioInput['policies'] = ['ultraep'];
    const runtime = { preset: 'deepep-low-latency', postSecondsPerTransfer: 0 } as const;
    const [{ time }] = (await simulateScenario({ ...decode, runtime, policies })).policies;
    expect(time.phases.plan).toBeGreaterThan(75e-6);
    expect(time.phases.plan).toBeLessThanOrEqual(85e-6);
    expect(time.phases.host).toBeUndefined();
  });

  it('batches are filled up to a captured size, and those above the last are launched kernel by kernel', async () => {
    const bytes = async (capturedTokens: number[]) =>
      (await ep({ preset: 'allgather-reducescatter', capturedTokens }, decode)).bytes.dispatch;
    expect((await bytes([8, 64])) / (await bytes([60]))).toBeCloseTo(64 / 60, 12);
    expect((await bytes([8, 16])) / (await bytes([60]))).toBe(1);
    const above = await ep({ preset: 'allgather-reducescatter', capturedTokens: [8] }, decode);
    expect(above.time.phases.host).toBeCloseTo(12 * 6e-6, 12);
  });
});

describe('memory of deepep-normal', () => {
  const small = {
    model: { hiddenSize: 512, expertHiddenSize: 256, experts: 4, topK: 1 },
    cluster: { gpu: 'h100', gpus: 2, gpusPerNode: 2 },
    workload: { phase: 'prefill', tokensPerGpu: 100, steps: 1, routing: { kind: 'balanced' } },
    policies: ['ep'],
  } satisfies ScenarioInput;
  const buffers = async (layout: 'contiguous' | 'fused' | 'loop') => {
    const { byCategory } = (await ep({ preset: 'deepep-normal', layout }, small)).peakMemory;
    return [byCategory.dispatchBuffers, byCategory.intermediates, byCategory.combineBuffers];
  };

  it('follows the load: rows aligned to 128 per expert, as many as there are, or one expert at a time', async () => {
    // Every expert gets 50 copies, every GPU 100 tokens of 1024 bytes and 12 of id and weight. Between the products
    // 2 H of 2 bytes, and H of 2 bytes once activated; then rows of 1024 bytes and their sums by token.
    expect(await buffers('contiguous')).toEqual([100 * 1036 + 256 * 1024, 256 * 1536, (256 + 100) * 1024]);
    expect(await buffers('fused')).toEqual([100 * 1036 + 100 * 1024, 100 * 1536, (100 + 100) * 1024]);
    expect(await buffers('loop')).toEqual([100 * 1036 + 100 * 1024, 50 * 1536, (100 + 100) * 1024]);
  });

  it('has rings of fixed size beside them', async () => {
    const of = async (gpus: number) =>
      (await ep({ preset: 'deepep-normal' }, { ...prefill, cluster: { gpu: 'h100', gpus, gpusPerNode: 8 } }))
        .peakMemory.byCategory.communicationBuffers;
    // 12 channels of 8 rings of 256 tokens: bf16, 8 bytes of source, 128 choices of 12 bytes, 128 scales of 4.
    const perToken = 2 * 7168 + 8 + 128 * 12 + 128 * 4;
    expect(await of(8)).toBe(12 * 8 * (4 * (2 + 3) + 256 * perToken));
    // Two nodes: rings of 288 tokens, and by RDMA of 128 to and from each node.
    const rdma = 12 * 2 * 2 * (4 * 18 + 128 * (perToken + 16)) + 2 ** 20;
    expect(await of(16)).toBe(12 * 8 * (4 * 7 + 288 * perToken) + Math.ceil(rdma / 128) * 128);
  });
});
