/** Scope model: what a step of all layers is made of, and the sentences that scenarios/model shows. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ModelParts } from '../../src/execution/index.js';
import { wholeModel } from '../../src/model/index.js';
import { openScenario } from '../../src/run.js';
import type { ScenarioInput } from '../../src/scenario/index.js';
import { worstCredible } from '../../src/simulation/step-memory.js';
import { simulateScenario } from './random-scenario.js';

const folder = new URL('../../scenarios/model/', import.meta.url);
const shown = (file: string) => JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as ScenarioInput;

/** The first policy of a scenario with some values of its workload and cluster changed. */
async function first(
  scenario: ScenarioInput,
  changes: { workload?: object; cluster?: object; model?: object; [key: string]: unknown } = {},
) {
  const { workload, cluster, model, ...others } = changes;
  const changed = {
    ...scenario,
    ...others,
    workload: { ...scenario.workload, ...workload },
    cluster: { ...(scenario.cluster as object), ...cluster },
    model: model === undefined ? scenario.model : { ...(scenario.model as object), ...model },
  } as ScenarioInput;
  return (await simulateScenario(changed)).policies[0];
}

const small = {
  model: {
    hiddenSize: 512,
    expertHiddenSize: 256,
    experts: 16,
    topK: 2,
    moeLayers: 6,
    sharedExperts: 1,
    denseLayers: 2,
    denseHiddenSize: 1024,
    vocabulary: 8000,
    attention: { kind: 'gqa', heads: 8, kvHeads: 2, headSize: 64, window: 100, windowEvery: 2 },
  },
  cluster: { gpu: 'h100', gpus: 4, gpusPerNode: 4 },
  runtime: 'ideal',
  workload: {
    phase: 'decode',
    tokensPerGpu: 64,
    kvTokens: 64 * 1000,
    steps: 3,
    routing: { kind: 'zipf', exponent: 1 },
  },
  policies: ['ep'],
  scope: 'model',
  seed: 1,
} satisfies ScenarioInput;

describe('scope model', () => {
  it('adds layers up: MoE layers as scope layer has them, and what stands between', async () => {
    const model = await first(small);
    const { kvTokens: _, ...workload } = small.workload;
    const layers = (
      await simulateScenario({ ...small, scope: 'layer', workload: { ...workload, layer: 'all' } })
    ).policies[0];
    const { machine, contexts } = (await openScenario(small)).resolved;
    const parts = new ModelParts(machine, wholeModel(machine.shape), contexts!);
    parts.take([64, 64, 64, 64]);
    const sum = ({ dense, attention, shared }: ReturnType<typeof parts.leading>) =>
      dense[0] + attention[0] + shared[0];
    // Layers 0 and 1 are dense; of layers 2 to 7, every second one has the window, from layer 0 on.
    const windowed = sum(parts.leading(true, []));
    const full = sum(parts.leading(false, []));
    const front = sum(parts.leading(true, [{ windowed: true }, { windowed: false }]));
    const between = front + 2 * windowed + 3 * full + parts.head[0];
    expect(model.stepLatency.mean).toBeCloseTo(6 * layers.stepLatency.mean + between, 12);
    expect(model.layerLatency.mean).toBeCloseTo((model.stepLatency.mean - parts.head[0]) / 6, 12);
    expect(model.copies.routed).toBe(layers.copies.routed);
    expect(model.imbalance.gpu).toEqual(layers.imbalance.gpu);
  });

  it('holds weights of all layers and the cache, with only the window of layers that have one', async () => {
    const { peakMemory, memory } = await first(small);
    // 4 of 16 experts in each of 6 layers.
    expect(peakMemory.byCategory.weights).toBe(6 * 4 * 3 * 512 * 256 * 2);
    const attention = 512 * (8 + 2 * 2) * 64 + 8 * 64 * 512;
    const other = 8 * attention + 2 * 3 * 512 * 1024 + 6 * (3 * 512 * 256 + 512 * 16) + 2 * 512 * 8000;
    expect(peakMemory.byCategory.otherWeights).toBe(2 * other);
    // 64 sequences of 1,000 tokens: 4 layers cache all, 4 the window of 100; 2 · 2 heads · 64 · 2 bytes a token.
    expect(peakMemory.byCategory.kvCache).toBe(512 * (4 * 64_000 + 4 * 6400));
    expect(memory!.kvTokens.bytesPerToken).toBe(4 * 512);
    expect(peakMemory.reserved).toBeGreaterThan(peakMemory.max);
    expect(peakMemory.reserved).toBeLessThan(peakMemory.max + memory!.dynamic.largest);
  });

  it('divides all but routers over GPUs that share their tokens; key heads that are too few are repeated', async () => {
    const shared = (attentionTensorParallel: number, workload = {}) =>
      first(small, { runtime: { preset: 'deepep-low-latency', attentionTensorParallel }, workload });
    const [one, two, four] = [await shared(1), await shared(2), await shared(4)];
    const kv = 512 * 2 * 2 * 64;
    const queries = 512 * 8 * 64 + 8 * 64 * 512;
    const rest = 2 * 3 * 512 * 1024 + 6 * 3 * 512 * 256 + 2 * 512 * 8000;
    const routers = 6 * 512 * 16;
    expect(one.peakMemory.byCategory.otherWeights).toBe(2 * (8 * (queries + kv) + rest + routers));
    expect(two.peakMemory.byCategory.otherWeights).toBe(2 * ((8 * (queries + kv) + rest) / 2 + routers));
    expect(four.peakMemory.byCategory.otherWeights).toBe(2 * ((8 * queries + rest) / 4 + 4 * kv + routers));
    expect(two.peakMemory.byCategory.kvCache).toBe(one.peakMemory.byCategory.kvCache);
    expect(four.peakMemory.byCategory.kvCache).toBe(2 * one.peakMemory.byCategory.kvCache!);
    expect(two.memory!.kvTokens.bytesPerToken).toBe(one.memory!.kvTokens.bytesPerToken);
    expect(four.memory!.kvTokens.bytesPerToken).toBe(2 * one.memory!.kvTokens.bytesPerToken);
    // A long cache beside a short one: of one GPU it is attention's wait, in a group they are together.
    const uneven = { kvTokens: [2_000_000, 6_000_000, 2_000_000, 6_000_000] };
    const [apart, together] = [await shared(1, uneven), await shared(2, uneven)];
    expect(apart.imbalance.attention).toBeGreaterThan(1.3);
    expect(together.imbalance.attention).toBe(1);
    expect(together.time.waitingFor!.source).toBeCloseTo(0, 12);
    expect(together.time.critical.attention!).toBeLessThan(0.8 * apart.time.critical.attention!);
  });

  it('runs attention of half the tokens in each half of a batch', async () => {
    const runtime = (overlap: 'shared-expert' | 'two-batch') => ({
      runtime: { preset: 'deepep-low-latency' as const, overlap },
    });
    const workload = { tokensPerGpu: 64, kvTokens: 64_000 };
    const halves = await first(small, { ...runtime('two-batch'), workload });
    const half = await first(small, {
      ...runtime('shared-expert'),
      workload: { tokensPerGpu: 32, kvTokens: 32_000 },
    });
    // Weights are read twice, and every kernel's fixed time counts twice.
    expect(halves.time.phases.attention).toBeCloseTo(2 * half.time.phases.attention!, 12);
    expect(halves.time.phases.shared).toBeCloseTo(2 * half.time.phases.shared!, 12);
  });

  it('prices tokens, and says how long one takes', async () => {
    const p = await first(small, { cluster: { pricePerGpuHour: 2 } });
    expect(p.tokensPerSecondPerGpu).toBeCloseTo(64 / p.stepLatency.mean, 6);
    expect(p.serving!.timePerOutputToken).toBe(p.stepLatency.mean);
    expect(p.serving!.timeToFirstToken).toBeNull();
    expect(p.serving!.costPerMillionTokens).toBeCloseTo((2 / 3600 / p.tokensPerSecondPerGpu) * 1e6, 9);
  });

  it('lets the layers of a recording stand for all of the model’s', async () => {
    const quickstart = JSON.parse(
      readFileSync(new URL('../../scenarios/quickstart.json', import.meta.url), 'utf8'),
    ) as ScenarioInput;
    const { path, ...routing } = quickstart.workload.routing as { path: string };
    const recorded = {
      ...quickstart,
      workload: {
        ...quickstart.workload,
        steps: 2,
        routing: { ...routing, path: new URL(path, new URL('../../scenarios/', import.meta.url)).pathname },
      },
      policies: ['ep'],
    } as ScenarioInput;
    const model = await simulateScenario({
      ...recorded,
      scope: 'model',
      workload: { ...recorded.workload, promptTokens: 512 },
    });
    const layers = (await simulateScenario(recorded)).policies[0];
    expect(model.routing.notes.join()).toContain(
      '8 layers: each stands for up to 3 of the model’s'.replace('’', "'"),
    );
    const [ep] = model.policies;
    expect(ep.copies.routed).toBe(3 * layers.copies.routed);
    const between = ['attention', 'head'] as const;
    const moe = between.reduce((rest, phase) => rest - ep.time.critical[phase]!, ep.stepLatency.mean);
    // 24 layers, each as long as the mean of the eight.
    expect(moe).toBeCloseTo(24 * layers.stepLatency.mean, 9);
  });

  it('draws jitter from the seed, the same for all policies', async () => {
    const cluster = { jitter: 0.2 };
    const [one, again, other] = [
      await first(small, { cluster }),
      await first(small, { cluster }),
      await first(small, { cluster, seed: 2 }),
    ];
    const even = await first(small);
    expect(one).toEqual(again);
    expect(one.stepLatency.mean).not.toBe(other.stepLatency.mean);
    // The slowest of four decides: with 20 % scatter it is some 20 % late.
    expect(one.time.critical.attention! / even.time.critical.attention!).toBeGreaterThan(1.1);
    expect(one.time.critical.attention! / even.time.critical.attention!).toBeLessThan(1.35);
    const { policies } = await simulateScenario({
      ...small,
      cluster: { ...small.cluster, ...cluster },
      policies: ['ep', { kind: 'llep', imbalanceThreshold: 1e9 }],
    });
    expect(policies[1].stepLatency).toEqual(policies[0].stepLatency);
  });

  it('keeps a reserve for the worst credible step', () => {
    expect(worstCredible([5])).toBe(5);
    expect(worstCredible([4, 4, 4])).toBeCloseTo(4, 9);
    // ln 2 and ln 8: mean ln 4, standard deviation √2 · ln 2.
    expect(worstCredible([2, 8])).toBeCloseTo(4 * Math.exp(3.09 * Math.SQRT2 * Math.LN2), 9);
  });
});

describe('scenarios/model', () => {
  it('kv-imbalance.json: attention wait, not expert time', async () => {
    const skewed = shown('kv-imbalance.json');
    const { kvTokens } = skewed.workload as { kvTokens: number[] };
    const mean = kvTokens.reduce((sum, own) => sum + own, 0) / kvTokens.length;
    expect(Math.max(...kvTokens) / Math.min(...kvTokens)).toBeCloseTo(1.3, 9);
    const [uneven, even] = [await first(skewed), await first(skewed, { workload: { kvTokens: mean } })];
    expect(uneven.time.critical.experts).toBe(even.time.critical.experts);
    expect(uneven.time.waitingFor!.experts).toBe(0);
    expect(even.time.waitingFor).toEqual({ source: 0, experts: 0 });
    expect(uneven.imbalance.attention).toBeGreaterThan(1.1);
    // 31 of 32 GPUs wait as long as the step is longer than that of the shorter caches.
    const short = await first(skewed, { workload: { kvTokens: 400_000 } });
    const late = uneven.stepLatency.mean - short.stepLatency.mean;
    expect(late).toBeGreaterThan(0.04 * short.stepLatency.mean);
    expect(uneven.time.waitingFor!.source).toBeCloseTo((31 / 32) * late, 9);
  });

  it('slow-gpu.json: all wait for it, in attention and in the experts', async () => {
    const scenario = shown('slow-gpu.json');
    const [slow, even] = [await first(scenario), await first(scenario, { cluster: { speed: undefined } })];
    for (const phase of ['attention', 'experts', 'head'] as const) {
      expect(slow.time.critical[phase]).toBeCloseTo(even.time.critical[phase]! / 0.8, 9);
    }
    expect(slow.time.critical.dispatch).toBeCloseTo(even.time.critical.dispatch!, 9);
    expect(slow.time.waitingFor!.source).toBeGreaterThan(0);
    expect(slow.time.waitingFor!.experts).toBeGreaterThan(slow.time.waitingFor!.source);
    // All but one of 8 GPUs idle a fifth of what the slow one takes.
    const kernels = slow.time.critical.attention! + slow.time.critical.experts! + slow.time.critical.head!;
    expect(slow.time.waiting).toBeCloseTo((7 / 8) * 0.2 * kernels, 9);
  });

  it('bounded-gamma.json: LLEP and capacity dropping hold more tokens', async () => {
    const scenario = shown('bounded-gamma.json');
    const { policies } = await simulateScenario({
      ...scenario,
      workload: { ...scenario.workload, steps: 4 },
    });
    const [ep, llep, capacity] = policies.map(({ memory }) => memory!);
    expect(ep.gamma.largest).toBeGreaterThan(2.5);
    expect(llep.gamma.largest).toBeLessThan(1.01);
    for (const bounded of [llep, capacity]) {
      expect(bounded.kvTokens.overEp).toBe(bounded.kvTokens.room - ep.kvTokens.room);
      expect(bounded.kvTokens.overEp).toBeGreaterThan(20_000);
      // What it frees, in tokens: the smaller reserve with what its allocator fragments.
      const freed = 1.08 * (ep.dynamic.credible - bounded.dynamic.credible);
      expect(Math.abs(bounded.kvTokens.overEp - freed / ep.kvTokens.bytesPerToken)).toBeLessThanOrEqual(1);
    }
  });

  it('deepseek-v3-*.json: figures of docs/model-scope.md', async () => {
    const text = readFileSync(new URL('../../docs/model-scope.md', import.meta.url), 'utf8');
    const cells = text.split('\n').map((line) => line.split('|').map((cell) => cell.trim()));
    const row = (name: string, seconds: string, tokens: number) =>
      expect(cells).toContainEqual(['', name, seconds, Math.round(tokens).toLocaleString('en'), '']);
    for (const [file, preset, published] of [
      ['deepseek-v3-prefill.json', 'deepep-normal', 2.09],
      ['deepseek-v3-decode.json', 'deepep-low-latency', 0.0551],
    ] as const) {
      const scenario = shown(file);
      const [halves, whole, ideal] = [
        await first(scenario),
        await first(scenario, { runtime: preset }),
        await first(scenario, { runtime: 'ideal' }),
      ];
      expect(Math.abs(halves.stepLatency.mean / published - 1)).toBeLessThan(0.15);
      const seconds = (mean: number) =>
        published > 1 ? `${mean.toFixed(2)} s` : `${(1e3 * mean).toFixed(1)} ms`;
      row(`\`${preset}\`, two halves`, seconds(halves.stepLatency.mean), halves.tokensPerSecondPerGpu);
      row(`\`${preset}\`, one batch`, seconds(whole.stepLatency.mean), whole.tokensPerSecondPerGpu);
      row('`ideal`', seconds(ideal.stepLatency.mean), ideal.tokensPerSecondPerGpu);
    }
  });

  it('has a test for every scenario', () => {
    const source = readFileSync(new URL('whole-model.test.ts', import.meta.url), 'utf8');
    for (const file of readdirSync(folder)) {
      expect(source).toContain(file.replace(/^deepseek-v3-(decode|prefill)/, 'deepseek-v3-*'));
    }
  });
});
