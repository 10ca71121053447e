/** Locality: LocMoE's signs (arXiv 2401.13920), and what placement and result say of copies that stay on their node. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { run } from '../../src/run.js';
import type { ScenarioInput } from '../../src/scenario/index.js';

function scenarioOf(file: string): ScenarioInput {
  return JSON.parse(
    readFileSync(new URL(`../../scenarios/systems/${file}`, import.meta.url), 'utf8'),
  ) as ScenarioInput;
}

type Routing = Partial<{ sigma: number; homeShare: number; shared: number }>;

/** Step and exchange seconds of EP on so many GPUs in nodes of eight, under a router. */
async function routed(gpus: number, routing: Routing, runtime: object = {}) {
  const scenario = scenarioOf('locmoe-hash.json');
  const { policies } = await run({
    ...scenario,
    cluster: { ...(scenario.cluster as object), gpus },
    runtime: { ...(scenario.runtime as object), ...runtime },
    workload: { ...scenario.workload, routing: { kind: 'source-topics', ...routing } },
  } as ScenarioInput);
  const { time, stepLatency, locality } = policies.find(({ policy }) => policy.kind === 'ep')!;
  const exchange = time.critical.dispatch! + time.critical.combine!;
  return { step: stepLatency.mean, exchange, local: locality.ownNode };
}

const step = async (file: string) => {
  const { policies } = await run(scenarioOf(file));
  const { stepLatency, locality } = policies.find(({ policy }) => policy.kind === 'ep')!;
  return { step: stepLatency.mean, local: locality.ownNode };
};

describe('LocMoE', () => {
  it('gains against Switch, most of it by an even load and not by locality', async () => {
    const [loose, even, local] = await Promise.all(
      ['locmoe-switch.json', 'locmoe-hash.json', 'locmoe-locmoe.json'].map(step),
    );
    expect(local.local).toBeGreaterThan(1.25 * even.local);
    expect(loose.step / local.step).toBeGreaterThan(1.1);
    // What is left between hash routing and LocMoE is locality's, a small part of the whole gain.
    expect(even.step - local.step).toBeLessThan(0.1 * (loose.step - local.step));
  });

  it('with balance forced, gains no more than 6 % of the exchanges’ time by locality', async () => {
    const [hash, local] = await Promise.all([
      routed(64, { sigma: 0 }),
      routed(64, { sigma: 0, homeShare: 0.17 }),
    ]);
    expect(local.exchange).toBeLessThan(hash.exchange);
    expect(1 - local.exchange / hash.exchange).toBeLessThan(0.06);
  });

  it('gains nothing against hash routing once nodes outnumber experts', async () => {
    // At home as often, over the share that chance gives an expert's node: 1.36 times 1/8 and 1/16.
    const gain = async (gpus: number, homeShare: number, sigma: number) => {
      const hash = await routed(gpus, { sigma: 0 });
      const local = await routed(gpus, { sigma, homeShare });
      return hash.step / local.step - 1;
    };
    // Of an even load next to nothing is left; the unevenness of any trained router turns the sign.
    expect(await gain(256, 0.085, 0)).toBeLessThan(0.3 * (await gain(64, 0.17, 0)));
    expect(await gain(64, 0.17, 0.05)).toBeGreaterThan(0);
    expect(await gain(256, 0.085, 0.05)).toBeLessThanOrEqual(0);
  });

  it('exchanges group-wise in less time than when every GPU of a group sends everything', async () => {
    const grouped = await routed(64, { sigma: 0 });
    const whole = await routed(64, { sigma: 0 }, { groupWise: false });
    expect(whole.exchange).toBeGreaterThan(2 * grouped.exchange);
    expect(whole.local).toBe(grouped.local);
  });
});

describe('placement by locality', () => {
  it('keeps more copies on their node than experts in order, and is faster where nodes have topics', async () => {
    const { policies } = await run(scenarioOf('locality-placement.json'));
    const of = (kind: string) => policies.find(({ policy }) => policy.kind === kind)!;
    expect(of('combination').locality.ownNode).toBeGreaterThan(2 * of('ep').locality.ownNode);
    expect(of('combination').stepLatency.mean).toBeLessThan(of('ep').stepLatency.mean);
  });
});

describe('the share of copies on their own node and GPU', () => {
  it('is one over nodes and GPUs where every source sends the same to all', async () => {
    const { policies } = await run({
      model: { hiddenSize: 256, expertHiddenSize: 128, experts: 8, topK: 2 },
      cluster: { gpu: 'h100', gpus: 8, gpusPerNode: 4 },
      workload: { phase: 'prefill', tokensPerGpu: 64, steps: 1, routing: { kind: 'balanced' } },
      policies: ['ep'],
    });
    for (const { locality } of policies) expect(locality).toEqual({ ownGpu: 1 / 8, ownNode: 1 / 2 });
  });
});
