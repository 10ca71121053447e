import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { run } from '../../src/run.js';
import type { ScenarioInput } from '../../src/scenario/index.js';
import type { Result } from '../../src/simulation/index.js';
import { root } from '../cli/epsim.js';

const scenario = (more: Partial<ScenarioInput>): ScenarioInput => ({
  model: { preset: 'gpt-oss-20b', weightDtype: 'bf16' },
  cluster: { gpu: 'h100', gpus: 8 },
  workload: {
    phase: 'prefill',
    tokensPerGpu: 128,
    steps: 4,
    warmupSteps: 2,
    layer: 'all',
    routing: { kind: 'trace', path: join(root, 'traces/quickstart.parquet'), resample: true },
  },
  policies: ['ep', { kind: 'capacity', factor: 0.8 }, { kind: 'llep', minTokensPerGemm: 1 }],
  seed: 1,
  ...more,
});

/** What a run counted, without what replicates say of it. */
function counted({ policies }: Result): object[] {
  return policies.map((own) => {
    const { stepLatency, layerLatency, speedup, uncertainty: _, ...figures } = own;
    return { ...figures, means: [stepLatency.mean, layerLatency.mean, speedup.mean] };
  });
}

describe('replicates', () => {
  const training: Partial<ScenarioInput> = {
    runtime: 'megatron-alltoall',
    training: { microBatches: 1 },
    policies: ['ep', { kind: 'capacity', factor: 0.8 }],
  };
  it.each<[string, Partial<ScenarioInput>]>([
    ['inference', {}],
    ['training', training],
  ])('change intervals and nothing else, with a warm-up too: %s', async (_, more) => {
    const base = scenario(more);
    const phase = more.training ? ('training' as const) : ('prefill' as const);
    const asked = { ...base, workload: { ...base.workload, phase } };
    const [without, with3] = [await run({ ...asked, resamples: 0 }), await run({ ...asked, resamples: 3 })];
    expect(counted(with3)).toEqual(counted(without));
    for (const { imbalance } of with3.policies) {
      expect(imbalance.gpu.before.maxOverMean).toBeGreaterThanOrEqual(1);
    }
    expect(with3.routing.interval).toContain('3 replicates');
  });
});
