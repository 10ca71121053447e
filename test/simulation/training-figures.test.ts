/** The figures of docs/training.md, recomputed. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { ScenarioInput } from '../../src/scenario/index.js';
import { simulateScenario } from './random-scenario.js';

const docs = readFileSync(new URL('../../docs/training.md', import.meta.url), 'utf8').replace(/ +/g, ' ');
const sum = (phases: object) =>
  (Object.values(phases) as number[]).reduce((total, seconds) => total + seconds, 0);

async function train(scenario: Omit<ScenarioInput, 'runtime'>) {
  const { policies } = await simulateScenario({ ...scenario, runtime: 'megatron-alltoall' });
  return (kind: string) => {
    const { training, ...policy } = policies.find((one) => one.policy.kind === kind)!;
    return { ...policy, training: training! };
  };
}

describe('docs/training.md', () => {
  it.each([
    [0.3, '2.41'],
    [0.5, '3.48'],
    [0.8, '5.26'],
    [0.95, '6.11'],
  ])('speed-ups of LLEP with %s of the copies on one expert', async (share, published) => {
    const of = await train({
      model: { preset: 'gpt-oss-120b', weightDtype: 'bf16' },
      cluster: { gpu: 'h200', gpus: 8, gpusPerNode: 8 },
      workload: {
        phase: 'training',
        tokensPerGpu: 32768,
        steps: 1,
        routing: { kind: 'hot-experts', share, experts: 1 },
      },
      policies: ['ep', 'llep'],
    });
    const [ep, llep] = [of('ep'), of('llep')];
    const part = (pass: 'forward' | 'backward') =>
      (sum(ep.training.critical[pass]) / sum(llep.training.critical[pass])).toFixed(2);
    const row = [
      `${100 * share} %`,
      published,
      llep.speedup.mean.toFixed(2),
      part('forward'),
      part('backward'),
    ];
    expect(docs).toContain(`| ${row.join(' | ')} |`);
    if (share < 0.95) return;
    const gib = ({ peakMemory: { max } }: typeof ep) => (max / 2 ** 30).toFixed(1);
    expect(docs).toContain(`Peak memory at 95 % falls from ${gib(ep)} to ${gib(llep)} GiB`);
    expect(docs).toContain(`EP's γ of ${ep.imbalance.gpu.before.maxOverMean.toFixed(1)}`);
  });

  it('UltraEP on 64 GPUs', async () => {
    const of = await train({
      model: { preset: 'deepseek-v3', weightDtype: 'bf16', routerGroups: 1, topGroups: 1 },
      cluster: { gpu: 'gb200', gpus: 64, gpusPerNode: 64 },
      workload: {
        phase: 'training',
        tokensPerGpu: 8192,
        steps: 4,
        routing: { kind: 'log-normal', sigma: 0.8 },
      },
      policies: ['ep', { kind: 'ultraep', spareSlots: 2 }],
    });
    const [ultraep, balanced] = [of('ultraep'), of('balanced')];
    const { before, after } = ultraep.imbalance.gpu;
    const share = (100 * balanced.stepLatency.mean) / ultraep.stepLatency.mean;
    const { weights, gradients } = ultraep.time.phases;
    expect(docs).toContain(`σ 0.8: γ ${before.maxOverMean.toFixed(2)}`);
    expect(docs).toContain(
      `${ultraep.weightTransfers / 4} weights per layer, ${(1e3 * weights!).toFixed(2)} ms, γ ${after.maxOverMean.toFixed(2)}`,
    );
    expect(docs).toContain(
      `${share.toFixed(1)} % of forced balance, and ${ultraep.speedup.mean.toFixed(2)} times as fast`,
    );
    expect(docs).toContain(`ours puts ${(1e3 * gradients!).toFixed(2)} ms on the links per layer`);
  });
});
