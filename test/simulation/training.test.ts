/** What holds of every training: the ledger closes, backward mirrors forward, gradients go home. */
import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import type { ScenarioInput } from '../../src/scenario/index.js';
import type { PolicyResult } from '../../src/simulation/index.js';
import { simulateScenario, trainingArbitrary } from './random-scenario.js';

const RUNS = { numRuns: 25 };
const sum = (values: ArrayLike<number>) => Array.from(values).reduce((total, value) => total + value, 0);

/** A small scenario in training; `change` is laid over it. */
const small = (change: Partial<ScenarioInput> = {}): ScenarioInput => ({
  model: { hiddenSize: 512, expertHiddenSize: 256, experts: 8, topK: 2, moeLayers: 4 },
  cluster: { gpu: 'h100', gpus: 4, gpusPerNode: 4 },
  runtime: 'megatron-alltoall',
  workload: {
    phase: 'training',
    tokensPerGpu: 512,
    steps: 2,
    routing: { kind: 'hot-experts', share: 0.6, experts: 1 },
  },
  policies: ['ep', { kind: 'llep', minTokensPerGemm: 1, imbalanceThreshold: 0 }],
  ...change,
});

describe('training', () => {
  test.prop([trainingArbitrary], RUNS)(
    '4 memory: after every training step only what is resident is left',
    async (scenario) => {
      let steps = 0;
      const { policies } = await simulateScenario(scenario, undefined, ({ stages }) => {
        steps++;
        for (const { ledger, residency } of stages) {
          for (let gpu = 0; gpu < ledger.pools; gpu++) {
            expect(ledger.totalOf(gpu)).toBe(residency.bytesOn(gpu));
            expect(ledger.peakOf(gpu).bytes).toBeGreaterThanOrEqual(ledger.totalOf(gpu));
          }
        }
      });
      expect(steps).toBe(scenario.workload.steps! * policies.length);
      for (const { peakMemory } of policies) {
        expect(peakMemory.max).toBe(Math.max(...peakMemory.perGpu));
        expect(sum(Object.values(peakMemory.byCategory))).toBe(peakMemory.max);
      }
    },
  );

  test.prop([trainingArbitrary], RUNS)(
    'gradients of what was borrowed go home, each once, and backward exchanges mirror the forward ones',
    async (scenario) => {
      const { policies } = await simulateScenario(scenario);
      const { weightDtype } = scenario.model as { weightDtype: string };
      const widths = weightDtype === 'fp8' ? 2 : 1;
      for (const { training } of policies) {
        const { forward, recompute, backward, gradients } = training!.bytes;
        expect(gradients.borrowed).toBe(forward.weights * widths);
        // A probability goes there with the copy, and its gradient comes back.
        expect(backward.dispatch).toBe(forward.combine);
        expect(backward.combine).toBe(forward.dispatch);
        const runsAgain = ['moe', 'full'].includes(scenario.training!.recompute!);
        const again = (bytes: number) => (runsAgain ? bytes : 0);
        expect(recompute.dispatch).toBe(again(forward.dispatch));
        expect(recompute.combine).toBe(again(forward.combine));
        const fetched = scenario.training!.borrowedWeights === 'keep' ? 0 : forward.weights;
        expect(recompute.weights + backward.weights).toBe(fetched);
      }
    },
  );

  test.prop([trainingArbitrary], RUNS)(
    'replicas: as many gradients come home as weights go back, once per training step',
    async (scenario) => {
      const { policies } = await simulateScenario({
        ...scenario,
        training: { ...scenario.training, sentGradientDtype: 'bf16' },
        model: { ...(scenario.model as object), weightDtype: 'bf16' } as ScenarioInput['model'],
      });
      for (const { training } of policies) {
        expect(training!.bytes.gradients.replicas).toBe(training!.bytes.refreshed);
      }
    },
  );

  test.prop([trainingArbitrary], RUNS)(
    'the passes of the critical path sum to the mean latency, which is never below its bound',
    async (scenario) => {
      const { policies } = await simulateScenario(scenario, undefined, ({ policy, lastBound }, seconds) => {
        if (!policy.anchor) expect(seconds).toBeGreaterThanOrEqual(lastBound * (1 - 1e-9));
      });
      for (const { stepLatency, training, time } of policies) {
        const passes = sum(Object.values(training!.critical).flatMap((phases) => Object.values(phases)));
        expect(passes / stepLatency.mean).toBeCloseTo(1, 9);
        expect(sum(Object.values(time.critical)) / stepLatency.mean).toBeCloseTo(1, 9);
        expect(training!.idle).toBeGreaterThanOrEqual(-1e-12);
        expect(training!.idle).toBeLessThan(1);
      }
    },
  );

  test.prop([trainingArbitrary], { numRuns: 15 })(
    '5 determinism: the same scenario gives the same bytes',
    async (scenario) => {
      const [one, two] = [await simulateScenario(scenario), await simulateScenario(scenario)];
      expect(JSON.stringify(one.policies)).toBe(JSON.stringify(two.policies));
    },
  );

  test.prop([trainingArbitrary], { numRuns: 15 })('recomputing more costs time', async (scenario) => {
    const choices = ['none', 'activation', 'moe', 'full'] as const;
    const results: PolicyResult[][] = [];
    for (const recompute of choices) {
      const { policies } = await simulateScenario({
        ...scenario,
        training: { ...scenario.training, recompute },
      });
      results.push(policies);
    }
    results.slice(1).forEach((policies, i) =>
      policies.forEach(({ stepLatency }, p) => {
        expect(stepLatency.mean).toBeGreaterThanOrEqual(results[i][p].stepLatency.mean * (1 - 1e-12));
      }),
    );
  });

  test.prop([trainingArbitrary, fc.constantFrom('ports' as const, 'max-min' as const)], { numRuns: 15 })(
    'neutral settings train as standard EP does',
    async (scenario, fabric) => {
      const { policies } = await simulateScenario({
        ...scenario,
        cluster: { ...(scenario.cluster as object), fabric } as ScenarioInput['cluster'],
        policies: ['ep', { kind: 'capacity', factor: null }, { kind: 'replicate-quantize', replicas: 0 }],
      });
      const [ep, ...others] = policies.filter(({ policy }) => policy.kind !== 'balanced');
      for (const other of others) {
        expect(other.stepLatency).toEqual(ep.stepLatency);
        expect(other.peakMemory).toEqual(ep.peakMemory);
        expect(other.training).toEqual(ep.training);
      }
    },
  );

  it('a stage saves what its layers save: four layers keep four times one layer’s tensors', async () => {
    const of = async (layers: number) => {
      const { policies } = await simulateScenario(small({ training: { layers } }));
      return policies[0].peakMemory.byCategory;
    };
    const [one, four] = [await of(1), await of(4)];
    expect(four.savedForBackward).toBe(4 * one.savedForBackward!);
    expect(four.gradients).toBe(4 * one.gradients!);
    // What is between products and exchanges is alive for one layer at a time.
    expect(four.intermediates).toBe(one.intermediates);
  });

  it('a pipeline’s first stage keeps a micro-batch per stage, its last stage one', async () => {
    const { policies } = await simulateScenario(
      small({ training: { layers: 1, stages: 3, microBatches: 6, recompute: 'full' }, policies: ['ep'] }),
    );
    const [{ peakMemory, training }] = policies;
    const byStage = [0, 1, 2].map((stage) => Math.max(...peakMemory.perGpu.slice(4 * stage, 4 * stage + 4)));
    // Of every micro-batch that waits, the layer's input: 512 tokens of 512 elements in 16 bits.
    expect(byStage[0] - byStage[1]).toBe(512 * 512 * 2);
    expect(byStage[1] - byStage[2]).toBe(512 * 512 * 2);
    // Micro-batches and stages are nearly alike: 2 of 8 slots of a stage are idle.
    expect(training!.idle).toBeGreaterThan(0.2);
    expect(training!.idle).toBeLessThan(0.3);
  });

  it('dropped copies have no backward pass: they are neither sent nor computed', async () => {
    const { policies } = await simulateScenario(
      small({ policies: ['ep', { kind: 'capacity', factor: 1 }, { kind: 'capacity', factor: null }] }),
    );
    const [ep, dropping] = policies;
    expect(dropping.copies.dropped).toBeGreaterThan(0);
    for (const pass of ['forward', 'backward'] as const) {
      expect(dropping.training!.bytes[pass].dispatch).toBeLessThan(ep.training!.bytes[pass].dispatch);
    }
    expect(dropping.training!.critical.backward['weight-gradients']).toBeLessThan(
      ep.training!.critical.backward['weight-gradients']!,
    );
  });

  describe('gradients are reduced over the expert-data-parallel group by rings', () => {
    // Eight experts of 3 · 512 · 256 weights: gradients in 32 bits, weights in 16, in each of two steps.
    const weights = 2 * 8 * 3 * 512 * 256;

    it.each<[string, ScenarioInput['training'], number, number]>([
      ['alone: nothing', {}, 0, 0],
      [
        'a sharded optimizer: (n − 1)/n of them are scattered, of the weights gathered',
        { optimizer: {} },
        3 / 4,
        3 / 4,
      ],
      ['another: twice as much of the gradients, no weights', { optimizer: { sharded: false } }, 3 / 2, 0],
      ['none: the same', {}, 3 / 2, 0],
    ])('%s', async (name, training, gradientShare, weightShare) => {
      const expertDataParallel = name.startsWith('alone') ? 1 : 4;
      const { policies } = await simulateScenario(small({ training: { ...training, expertDataParallel } }));
      const { gradients, gathered } = policies[0].training!.bytes;
      expect(gradients.reduced).toBe(gradientShare * 4 * weights);
      expect(gathered).toBe(weightShare * 2 * weights);
    });
  });

  it('an optimizer keeps 12 bytes per weight in memory, or its share of them', async () => {
    const of = async (training: ScenarioInput['training']) => {
      const { policies } = await simulateScenario(small({ training }));
      return policies[0].peakMemory.byCategory.optimizer;
    };
    const perGpu = 2 * 3 * 512 * 256;
    expect(await of({ optimizer: {} })).toBe(12 * perGpu);
    expect(await of({ optimizer: {}, expertDataParallel: 4 })).toBe(3 * perGpu);
    expect(await of({ optimizer: { sharded: false, masterDtype: null }, expertDataParallel: 4 })).toBe(
      8 * perGpu,
    );
    expect(await of({})).toBe(0);
  });

  it.each<[string, Partial<ScenarioInput>, RegExp]>([
    ['a runtime without a backward pass', { runtime: 'ideal' }, /runtime: found ideal.*megatron-alltoall/],
    [
      'weights in a format that is not trained',
      { model: { preset: 'gpt-oss-20b' } },
      /model.weightDtype: found mxfp4/,
    ],
    [
      'quantised replicas',
      { policies: [{ kind: 'replicate-quantize' }] },
      /policies\[0\].replicas: found 1, at a precision that has no gradient/,
    ],
    [
      'weights that travel over several steps',
      {
        policies: [{ kind: 'eplb', movement: 'async', history: { kind: 'window', interval: 10 } }],
        training: { layers: 1 },
      },
      /policies\[0\].movement: found .* in each of which the optimizer changes them/,
    ],
    [
      'one token of each sequence',
      {
        model: { preset: 'gpt-oss-20b', weightDtype: 'bf16' },
        workload: {
          phase: 'training',
          tokensPerGpu: 8,
          routing: { kind: 'trace', path: 'traces/quickstart.parquet', batching: 'decode-lockstep' },
        },
      },
      /workload.routing.batching: found decode-lockstep/,
    ],
    [
      'options without the phase',
      {
        workload: { phase: 'prefill', tokensPerGpu: 8, steps: 1, routing: { kind: 'balanced' } },
        training: {},
      },
      /training: found options beside workload.phase "prefill"/,
    ],
    [
      'GPUs that are slower than others',
      { cluster: { gpu: 'h100', gpus: 4, jitter: 0.1 } },
      /cluster.jitter: found 0.1, which training does not simulate/,
    ],
    ['a whole model', { scope: 'model' }, /scope: found model, of which only inference is simulated/],
    [
      'more layers than there are',
      { training: { layers: 3, stages: 2 } },
      /training.layers: found 6 MoE layers/,
    ],
    [
      'layers that stages do not divide',
      {
        workload: {
          phase: 'training',
          tokensPerGpu: 8,
          steps: 1,
          layer: 'all',
          routing: { kind: 'balanced' },
        },
        training: { stages: 3 },
      },
      /training.stages: found 3 for 4 MoE layers, allowed: a divisor of 4/,
    ],
    [
      'a placement that changes while gradients are added up',
      {
        policies: [{ kind: 'eplb', history: { kind: 'window', interval: 1 } }],
        training: { microBatches: 2 },
        workload: {
          phase: 'training',
          tokensPerGpu: 64,
          steps: 4,
          warmupSteps: 1,
          routing: { kind: 'zipf', exponent: 1.2 },
        },
      },
      /policies\[0\]: found .* between micro-batches/,
    ],
  ])('refuses %s', async (_, change, message) => {
    await expect(simulateScenario(small(change))).rejects.toThrow(message);
  });
});
