/** A training step worked out by hand: the two GPUs and two experts of by-hand.test.ts, forward and backward. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../src/run.js';
import type { ScenarioInput } from '../../src/scenario/index.js';
import type { PolicyResult, Result } from '../../src/simulation/index.js';

const file = new URL('hand-scenario.json', import.meta.url).pathname;

/** The scenario in training, without host or planner; `training` says how. */
async function train(training: ScenarioInput['training']): Promise<Result> {
  const scenario = JSON.parse(readFileSync(file, 'utf8')) as Omit<ScenarioInput, 'cluster'> & {
    cluster: { gpu: object };
  };
  return run(
    {
      ...scenario,
      // The router's product takes no time worth counting; its bytes do.
      cluster: { ...scenario.cluster, gpu: { ...scenario.cluster.gpu, bf16Flops: 1e15 } } as never,
      runtime: {
        preset: 'megatron-alltoall',
        launchesBeforeSync: 0,
        launchesAfterSync: 0,
        backwardLaunches: 0,
        planKernelSeconds: 0,
        postSecondsPerTransfer: 0,
      },
      workload: { ...scenario.workload, phase: 'training', steps: 1 },
      training,
      policies: ['ep', { kind: 'llep', imbalanceThreshold: 0, minTokensPerGemm: 1 }],
    },
    { file },
  );
}

/** Ten tokens in 2160 bytes (200 of each, and two probabilities read and written) at 1 MB/s. */
const router = 2160e-6;
/** A norm reads and writes ten tokens of 200 bytes. */
const norm = 4000e-6;
/** Counts of two experts, 8 bytes each, at 200 kB/s. */
const counts = 16 / 200_000;
/** Ten copies of 200 bytes are read and written; twelve rows are. */
const permute = 4000e-6;
const sort = 4800e-6;
/** Ten copies are read, ten tokens written. */
const unpermute = 4000e-6;
/** Six copies cross, of 200 bytes, or of 204 with a probability. */
const bare = (6 * 200) / 200_000;
const withProbability = (6 * 204) / 200_000;
/** Launch, one active expert, 12 rows of 30,000 FLOP, its weights, 12 rows of 2 · 100 + 6 · 50 elements. */
const experts = 0.1 + 0.001 + 0.12 + 0.01 + 0.012;
/** The same products the other way, and 12 rows of 2 · 100 + 8 · 50 elements. */
const data = 0.1 + 0.001 + 0.12 + 0.01 + 0.0144;
/** As many FLOP; 15,000 gradients of 4 bytes read and written; 12 rows of 2 · 100 + 3 · 50 elements. */
const weights = 0.1 + 0.001 + 0.12 + 0.04 + 0.0084;

const forward =
  router + norm + counts + permute + withProbability + sort + experts + sort + bare + unpermute;
const backward =
  permute + bare + sort + data + weights + sort + withProbability + unpermute + 2 * router + 2 * norm;

describe('training worked out by hand', () => {
  const results = new Map<string, Result>();
  beforeAll(async () => {
    for (const recompute of ['none', 'activation', 'moe', 'full'] as const) {
      results.set(recompute, await train({ recompute }));
    }
  });
  const of = (recompute: string, kind = 'ep'): PolicyResult =>
    results.get(recompute)!.policies.find(({ policy }) => policy.kind === kind)!;

  it('GPU 0 computes 12 of 20 copies, forward, for the data and for the weights', () => {
    expect(of('none').stepLatency.mean).toBeCloseTo(forward + backward, 12);
    expect(of('none').training!.critical.forward.experts).toBeCloseTo(experts, 12);
    expect(of('none').training!.critical.backward['data-gradients']).toBeCloseTo(data, 12);
    expect(of('none').training!.critical.backward['weight-gradients']).toBeCloseTo(weights, 12);
  });

  it('recomputing adds the activation’s product, the layer, or the layer with its norm', () => {
    // 12 rows of 3 · 50 elements are moved.
    expect(of('activation').stepLatency.mean).toBeCloseTo(forward + backward + 12 * 150 * 2e-6, 12);
    expect(of('moe').stepLatency.mean).toBeCloseTo(2 * forward - norm + backward, 12);
    expect(of('full').stepLatency.mean).toBeCloseTo(2 * forward + backward, 12);
  });

  it('memory at the peak, when the gradients of the data begin', () => {
    // Tokens before and after the norm; routing: 10 · 2 probabilities and marks, 10 places, 12 probabilities;
    // rows sorted (200 bytes each), before the activation (200) and behind it (100).
    const saved = 2 * 2000 + (10 * 2 * 5 + 10 * 4 + 12 * 4) + 12 * (200 + 200 + 100);
    const { byCategory, max } = of('none').peakMemory;
    expect(byCategory).toEqual({
      weights: 30_000,
      replicas: 0,
      staging: 0,
      borrowedWeights: 0,
      communicationBuffers: 0,
      activations: 0,
      // Gradients of the outputs, sorted; of what is between the products; of the inputs.
      dispatchBuffers: 2400,
      intermediates: 12 * 150 * 2,
      combineBuffers: 2400,
      savedForBackward: saved,
      gradients: 60_000,
      optimizer: 0,
    });
    expect(max).toBe(30_000 + 60_000 + saved + 2400 + 3600 + 2400);
  });

  it('LLEP: 30,000 bytes of weights come to GPU 1, as many bytes of gradients go back', () => {
    const { training, peakMemory } = of('none', 'llep');
    expect(training!.bytes.forward.weights).toBe(30_000);
    expect(training!.bytes.gradients).toEqual({ borrowed: 30_000, replicas: 0, reduced: 0 });
    // On GPU 1's port 30,000 bytes of weights and four dispatched copies share 200 kB/s.
    expect(training!.critical.forward.weights).toBeCloseTo((30_000 + 4 * 204) / 200_000, 12);
    // Its own two experts' worth: GPU 1 holds expert 1 and borrows expert 0 until its backward pass.
    expect(peakMemory.perGpu[1]).toBeGreaterThan(30_000 + 60_000 + 30_000 + 10 * 500);
    // The gradients share GPU 0's port with those of four inputs, and outlast the rest of the backward pass.
    expect(training!.critical.backward.gradients).toBeCloseTo((30_000 + 4 * 204) / 200_000, 12);
    expect(training!.critical.backward.accumulate).toBeCloseTo((30_000 + 2 * 60_000) / 1e6, 12);
  });
});
