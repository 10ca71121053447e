import { describe, expect, it } from 'vitest';
import { run, type PolicyResult, type ScenarioInput } from '../../src/index.js';

const GIB = 2 ** 30;

function scenario(
  change: Partial<ScenarioInput['workload']> & { routing: ScenarioInput['workload']['routing'] },
): ScenarioInput {
  return {
    model: { preset: 'gpt-oss-120b', weightDtype: 'bf16' },
    cluster: '8xh200',
    runtime: 'llep-reference',
    workload: { phase: 'prefill', tokensPerGpu: 32768, steps: 1, ...change },
    policies: ['ep', 'llep'],
  };
}

async function epAndLlep(
  routing: ScenarioInput['workload']['routing'],
): Promise<[PolicyResult, PolicyResult]> {
  const { policies } = await run(scenario({ routing }));
  return [policies[0], policies[1]];
}

// Peak memory per GPU in GiB, EP and LLEP (arXiv 2601.17111, Fig. 4 bottom and Fig. 1b; llep.md §5.2).
describe('runtime llep-reference: published peaks of gpt-oss-120b', () => {
  it.each([
    [16, 0.3, 24.5, 13.1],
    [16, 0.5, 35.7, 14.8],
    [16, 0.8, 52.6, 14.8],
    [16, 0.95, 61.1, 14.8],
    [4, 0.3, 28.3, 12.1],
    [4, 0.5, 38.5, 12.9],
    [4, 0.8, 53.7, 14.1],
    [4, 0.95, 61.3, 14.7],
    [1, 0.3, 29.1, 11.6],
    [1, 0.5, 39.1, 12.5],
    [1, 0.8, 54.0, 13.9],
    [1, 0.95, 61.4, 14.6],
  ])('%i hot experts with %d', async (experts, share, epPeak, llepPeak) => {
    const [ep, llep] = await epAndLlep({ kind: 'hot-experts', experts, share });
    expect(Math.abs(ep.peakMemory.max / GIB - epPeak)).toBeLessThan(0.2);
    expect(Math.abs(llep.peakMemory.max / GIB - llepPeak)).toBeLessThan(0.5);
  });

  it('balanced: 14.6 and 11.5', async () => {
    const [ep, llep] = await epAndLlep({ kind: 'balanced' });
    expect(Math.abs(ep.peakMemory.max / GIB - 14.6)).toBeLessThan(0.2);
    expect(Math.abs(llep.peakMemory.max / GIB - 11.5)).toBeLessThan(0.3);
  });
});

describe('runtime llep-reference: what it does for each policy', () => {
  it('a gated batch pays the gate only, a planned one the host planner, which grows with the experts', async () => {
    const { policies } = await run({
      ...scenario({ routing: { kind: 'hot-experts', experts: 1, share: 0.3 } }),
      policies: ['ep', 'llep', { kind: 'llep', imbalanceThreshold: 9 }],
    });
    const [ep, planned, gated] = policies.map(({ time }) => time.phases.plan ?? 0);
    expect(ep).toBe(0);
    expect(gated).toBeCloseTo(60e-6, 9);
    // 2.1 ms + 128 experts · 23.7 µs + the gate, and 40 µs for every weight transfer that a GPU takes part in.
    const transfers = policies[1].weightTransfers;
    expect(planned).toBeCloseTo(60e-6 + 2.1e-3 + 128 * 23.7e-6 + ((2 * transfers) / 8) * 40e-6, 9);
    expect(policies[2].gatedLayers).toBe(1);
    expect(policies[1].bytes.weights).toBe(transfers * 3 * 2880 * 2880 * 2);
  });

  it('weights wait for the plan, and travel beside the dispatch', async () => {
    const [, llep] = await epAndLlep({ kind: 'hot-experts', experts: 4, share: 0.8 });
    expect(llep.time.phases.weights).toBeGreaterThan(0);
    expect(llep.stepLatency.mean).toBeGreaterThan(llep.time.phases.plan! + llep.time.phases.weights!);
  });

  it('LLEP loses at small batch and wins at large, as published (llep.md §5.4)', async () => {
    const speedup = async (tokensPerGpu: number, share: number) => {
      const { policies } = await run({
        ...scenario({ tokensPerGpu, routing: { kind: 'hot-experts', experts: 4, share } }),
        model: { hiddenSize: 2048, expertHiddenSize: 2048, experts: 128, topK: 4 },
      });
      return policies[1].speedup.mean;
    };
    expect(await speedup(4096, 0.3)).toBeLessThan(1);
    expect(await speedup(65_536, 0.95)).toBeGreaterThan(3);
  });
});
