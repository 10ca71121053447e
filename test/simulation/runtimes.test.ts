/** What runtimes change: each scenario in scenarios/runtimes shows the sentence that is its name. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { NIC_IN } from '../../src/hardware/index.js';
import type { ScenarioInput } from '../../src/scenario/index.js';
import { simulateScenario } from './random-scenario.js';

const folder = new URL('../../scenarios/runtimes/', import.meta.url);
const GIB = 2 ** 30;

function read(file: string): ScenarioInput {
  return JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as ScenarioInput;
}

function withRouting(scenario: ScenarioInput, routing: ScenarioInput['workload']['routing']): ScenarioInput {
  return { ...scenario, workload: { ...scenario.workload, routing } };
}

/** Expert stage of the busiest GPU and skew of the GPUs, of standard EP. */
async function expertStage(file: string): Promise<{ seconds: number; gamma: number }> {
  const [ep] = (await simulateScenario(read(file))).policies;
  return { seconds: ep.time.critical.experts!, gamma: ep.imbalance.gpu.after.maxOverMean };
}

/** Bytes that the buffers of DeepEP's low-latency kernels take, step by step (deepseek-ai/DeepEP, csrc/config.hpp). */
function formula(hidden: number, slots: number, tokens: number): number {
  const scales = hidden / 128;
  const dispatched = 16 + Math.max(2 * hidden, hidden + 4 * scales);
  const combined = 4 * scales + 2 * hidden;
  const send = Math.max(tokens * dispatched, slots * tokens * combined);
  const received = Math.max(slots * tokens * dispatched, slots * tokens * combined);
  return 2 * (send + received + Math.ceil((4 * slots) / 128) * 128);
}

describe('runtimes', () => {
  it('under an all-gather no dispatch policy changes a byte on the network', async () => {
    const { policies } = await simulateScenario(read('all-gather-ignores-routing.json'));
    const [ep, ...others] = policies.filter(({ anchor }) => !anchor);
    expect(others).toHaveLength(4);
    // 16 GPUs of 512 tokens, each of which crosses to the other node once and, in both, to seven GPUs more.
    const token = 7168 * 2 + 8 * (4 + 4);
    expect(ep.bytes.dispatch).toBe(4 * 16 * 512 * (1 + 2 * 7) * token);
    expect(ep.bytes.combine).toBe(4 * 16 * 512 * (1 + 2 * 7) * 7168 * 2);
    for (const { bytes } of others) expect(bytes).toEqual(ep.bytes);
    // They do change who computes what.
    const loads = new Set(others.map(({ imbalance }) => imbalance.gpu.after.maxOverMean));
    expect(loads.size).toBeGreaterThan(2);
  });

  it('a small decode batch is bound by the weights of the active experts, a larger one is not', async () => {
    const [even, skewed] = [
      await expertStage('decode-bound-by-weights-even.json'),
      await expertStage('decode-bound-by-weights-skewed.json'),
    ];
    expect(even.gamma).toBe(1);
    expect(skewed.gamma).toBeGreaterThan(1.9);
    expect(skewed.seconds / even.seconds).toBeLessThan(1.05);
    const [evenRows, skewedRows] = [
      await expertStage('decode-bound-by-rows-even.json'),
      await expertStage('decode-bound-by-rows-skewed.json'),
    ];
    expect(evenRows.gamma).toBe(1);
    expect(skewedRows.gamma).toBeGreaterThan(1.9);
    expect(skewedRows.seconds / evenRows.seconds).toBeGreaterThan(1.05);
  });

  it('low-latency buffers hold the worst case: skew changes nothing', async () => {
    // The published sizes: 448 slots of width 5120 for 2048 and for 1840 tokens, 256 slots of width 7168 for 128.
    expect(formula(5120, 448, 2048) / GIB).toBeCloseTo(35.55, 2);
    expect(formula(5120, 448, 1840) / GIB).toBeCloseTo(31.94, 2);
    expect(formula(7168, 256, 128) / GIB).toBeCloseTo(1.78, 2);
    const scenario = read('low-latency-buffers.json');
    const routings = [
      scenario.workload.routing,
      { kind: 'balanced' },
      { kind: 'zipf', exponent: 0.3 },
    ] as const;
    for (const routing of routings) {
      const { policies } = await simulateScenario(withRouting(scenario, routing));
      for (const { peakMemory } of policies) {
        expect(peakMemory.byCategory.communicationBuffers).toBe(formula(5120, 448, 2048));
        expect(new Set(peakMemory.perGpu).size).toBe(1);
        expect(peakMemory.max).toBe(policies[0].peakMemory.max);
      }
    }
  });

  it('redundant experts cost low-latency buffers besides weights', async () => {
    const { policies } = await simulateScenario(read('redundancy-grows-buffers.json'));
    const [ep, redundant] = policies.map(({ peakMemory }) => peakMemory.byCategory);
    expect(ep.communicationBuffers).toBe(formula(7168, 256, 128));
    expect(redundant.communicationBuffers).toBe(formula(7168, 288, 128));
    expect(redundant.dispatchBuffers).toBe((ep.dispatchBuffers * 288) / 256);
    // Eight routed experts and the shared one; nine and the shared one.
    expect(redundant.weights + redundant.replicas).toBe((ep.weights * 10) / 9);
  });

  it('between nodes a hot GPU does not receive through its own NIC alone', async () => {
    const scenario = read('hot-gpu-behind-all-nics.json');
    /** Share of what enters the first node by the NIC of its hot GPU, number 0. */
    const ownShare = async (runtime: ScenarioInput['runtime']) => {
      let share = 0;
      await simulateScenario({ ...scenario, runtime }, ({ ports, policy }) => {
        if (policy.kind !== 'ep') return;
        const into = ports.units.subarray(NIC_IN * 32, NIC_IN * 32 + 8);
        share = into[0] / into.reduce((sum, units) => sum + units, 0);
      });
      return share;
    };
    expect(await ownShare('ideal')).toBeGreaterThan(0.6);
    expect(await ownShare('deepep-normal')).toBeCloseTo(1 / 8, 1);
    // Hot experts that share a GPU take a token once, so that skew can even save bytes.
    const bytes = async (from: ScenarioInput) => (await simulateScenario(from)).policies[0].bytes.dispatch;
    expect(await bytes(scenario)).toBeLessThan(await bytes(withRouting(scenario, { kind: 'balanced' })));
  });

  it('has a test for every scenario', () => {
    const source = readFileSync(new URL('runtimes.test.ts', import.meta.url), 'utf8');
    for (const file of readdirSync(folder)) expect(source).toContain(`'${file}'`);
  });
});
