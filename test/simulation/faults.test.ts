/** Faults: what slow links and lost GPUs leave, and what a recovery moves; against runs without faults and by hand. */
import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { expertBytes } from '../../src/execution/index.js';
import { onSurvivors, type RoutingSource, type RoutingStep } from '../../src/routing/index.js';
import { openScenario, runOpened } from '../../src/run.js';
import type { ScenarioInput } from '../../src/scenario/index.js';
import { simulate } from '../../src/simulation/index.js';
import '../seed.js';

const base = {
  name: 'faults',
  model: { hiddenSize: 256, expertHiddenSize: 128, experts: 8, topK: 2, moeLayers: 3, weightDtype: 'bf16' },
  cluster: { gpu: 'h200', gpus: 4 },
  runtime: 'ideal',
  workload: {
    phase: 'prefill',
    tokensPerGpu: 64,
    steps: 6,
    routing: { kind: 'log-normal', sigma: 1, redraw: 'run' },
  },
  policies: ['ep', 'llep', 'eplb', { kind: 'eplb', history: { kind: 'window', steps: 2, interval: 2 } }],
  seed: 1,
} satisfies ScenarioInput;

type Faults = Exclude<ScenarioInput['cluster'], string>['faults'];

const withFaults = (faults: Faults, change: object = {}): ScenarioInput => ({
  ...base,
  ...change,
  cluster: { ...base.cluster, faults, ...('cluster' in change ? (change.cluster as object) : {}) },
});

async function run(scenario: ScenarioInput) {
  return runOpened(await openScenario(scenario)).result;
}

describe('a slow link', () => {
  it('that keeps all of its bandwidth changes nothing, whatever a policy has seen before', async () => {
    const { faults, policies } = await run(
      withFaults([{ kind: 'link', gpu: 0, factor: 1, atStep: 4 }], {
        workload: { ...base.workload, warmupSteps: 2 },
      }),
    );
    const later = await run({ ...base, workload: { ...base.workload, warmupSteps: 4 } });
    expect(faults).toHaveLength(1);
    faults![0].policies.forEach(({ before, without, after, recovery }, i) => {
      expect(without).toEqual(after);
      expect(before.stepLatency).toBe(policies[i].stepLatency.mean);
      expect(after.stepLatency).toBe(later.policies[i].stepLatency.mean);
      expect(after.peakMemory.max).toBe(later.policies[i].peakMemory.max);
      expect(recovery).toBeNull();
    });
  });

  it.each(['ports', 'max-min'] as const)(
    'of every GPU is a profile whose NVLink is as slow (%s)',
    async (fabric) => {
      const slow = withFaults([{ kind: 'link', node: 0, factor: 0.25, atStep: 3 }], {
        policies: ['ep', 'llep'],
        cluster: { fabric },
      });
      const { faults } = await run(slow);
      const { resolved } = await openScenario({
        ...slow,
        cluster: { ...base.cluster, fabric },
        workload: { ...base.workload, warmupSteps: 3 },
      });
      const { machine } = resolved;
      const { nvlink } = machine.cluster.profile;
      const profile = {
        ...machine.cluster.profile,
        nvlink: { ...nvlink, bytesPerSecond: nvlink.bytesPerSecond / 4 },
      };
      const { policies } = simulate({
        ...resolved,
        machine: { ...machine, cluster: { ...machine.cluster, profile } },
      });
      faults![0].policies.forEach(({ policy, without, after }, i) => {
        // The anchor's exchange is uniform, and takes a formula of the profile.
        expect(after.stepLatency / policies[i].stepLatency.mean, policy.kind).toBeCloseTo(1, 9);
        expect(after.stepLatency).toBeGreaterThan(without.stepLatency);
      });
    },
  );

  it('of one GPU keeps every step above its lower bound', async () => {
    const { resolved } = await openScenario({ ...base, policies: ['ep', 'llep', 'eplb', 'ultraep'] });
    const { machine } = resolved;
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0.01, max: 1, noNaN: true }), { minLength: 16, maxLength: 16 }),
        (shares) => {
          const cluster = { ...machine.cluster, portShares: Float64Array.from(shares) };
          for (const { bound, stepLatency } of simulate({ ...resolved, machine: { ...machine, cluster } })
            .policies) {
            if (bound !== null)
              expect(stepLatency.mean).toBeGreaterThanOrEqual(bound.stepLatency * (1 - 1e-9));
          }
        },
      ),
      { numRuns: 10 },
    );
  });

  it('back to 1 is as it was', async () => {
    const { faults } = await run(
      withFaults(
        [
          { kind: 'link', gpu: 1, factor: 0.1, atStep: 2 },
          { kind: 'link', gpu: 1, factor: 1, atStep: 4 },
        ],
        // The same popularity in all steps, and no draws.
        { policies: ['ep'], workload: { ...base.workload, routing: { kind: 'balanced' } } },
      ),
    );
    const [slow, restored] = faults!.map(({ policies }) => policies[0]);
    expect(slow.after.stepLatency).toBeGreaterThan(slow.before.stepLatency);
    expect(restored.after.stepLatency).toBeCloseTo(slow.before.stepLatency, 12);
  });
});

describe('a lost GPU', () => {
  const lost = { kind: 'gpu-lost', gpu: 3, atStep: 3 } as const;

  it('by hand: GPUs 0 and 1 each load one of its two experts from host memory, layer by layer', async () => {
    const opened = await openScenario(withFaults([{ ...lost, pauseSeconds: 5 }], { policies: ['ep'] }));
    const { faults } = runOpened(opened).result;
    const [{ recovery, after, before }] = faults![0].policies;
    const { machine } = opened.resolved;
    const bytes = expertBytes(machine, 16);
    const { hostLink } = machine.cluster.profile;
    const layer = hostLink.latencySeconds + bytes / hostLink.bytesPerSecond;
    expect(faults![0].gpus).toEqual([4, 3]);
    expect(recovery!.layerSeconds).toBeCloseTo(layer, 12);
    expect(recovery!.seconds).toBeCloseTo(5 + 3 * layer, 12);
    expect(recovery).toMatchObject({
      lostExperts: 2,
      bytes: { gpus: 0, storage: 3 * 2 * bytes },
      staging: bytes,
    });
    expect(recovery!.stepsMissed).toBeCloseTo(recovery!.seconds / (3 * before.stepLatency), 9);
    // Two GPUs hold three experts now, of three layers.
    expect(after.experts).toEqual({ bytes: 3 * 3 * bytes, fit: true });
  });

  it('from disk takes as long as the disk', async () => {
    const disk = { ...lost, weightsFrom: 'disk', diskBytesPerSecond: 1e6 } as const;
    const opened = await openScenario(withFaults([disk], { policies: ['ep'] }));
    const [{ recovery }] = runOpened(opened).result.faults![0].policies;
    expect(recovery!.layerSeconds).toBeCloseTo(expertBytes(opened.resolved.machine, 16) / 1e6, 4);
  });

  it('by hand: whose experts have copies elsewhere costs no storage, and seven copies travel', async () => {
    // GPUs 0 and 2 hold experts 0 to 3, GPUs 1 and 3 experts 4 to 7. Then, in slot order, GPU 0 holds 0 to 4, GPU 1 holds
    // 5, 6, 7, 0 and 1, and GPU 2 holds 2 to 7: one, two and four of those are new there.
    const placement = { kind: 'contiguous', slots: 16 } as const;
    const opened = await openScenario(
      withFaults([lost], { policies: [{ kind: 'combination', placement, dispatch: 'even' }] }),
    );
    const [{ recovery }] = runOpened(opened).result.faults![0].policies;
    const bytes = expertBytes(opened.resolved.machine, 16);
    expect(recovery).toMatchObject({
      lostExperts: 0,
      bytes: { gpus: 3 * 7 * bytes, storage: 0 },
      staging: 4 * bytes,
    });
    // Four of them leave GPU 1 for GPU 2, and one for GPU 0: its port out is the busiest.
    const { nvlink } = opened.resolved.machine.cluster.profile;
    expect(recovery!.layerSeconds).toBeGreaterThanOrEqual((5 * bytes) / nvlink.bytesPerSecond);
    expect(recovery!.layerSeconds).toBeLessThan((5 * bytes) / nvlink.bytesPerSecond + 1e-3);
  });

  it('policies plan for those that are left, as if they had always been so many', async () => {
    const { faults } = await run(withFaults([lost], { policies: ['eplb'] }));
    const [{ after, without }] = faults![0].policies;
    expect(after.gamma).toBeLessThan(1.2);
    expect(after.stepLatency).toBeGreaterThan(without.stepLatency);
    expect(after.tokensPerSecond).toBeLessThan(without.tokensPerSecond);
  });

  it('takes its tokens along where requests are dropped', async () => {
    const of = async (requests: 'moved' | 'dropped') => {
      const { faults } = await run(withFaults([{ ...lost, requests }], { policies: ['ep'] }));
      const [{ after }] = faults![0].policies;
      return after.tokensPerSecond * after.stepLatency;
    };
    expect(await of('moved')).toBeCloseTo(4 * 64, 6);
    expect(await of('dropped')).toBeCloseTo(3 * 64, 6);
  });

  it('in scope model moves the KV cache and the whole model is what must fit', async () => {
    const scenario: ScenarioInput = {
      name: 'whole',
      model: 'gpt-oss-20b',
      cluster: { gpu: 'h200', gpus: 4, faults: [{ kind: 'gpu-lost', gpu: 0, atStep: 1 }] },
      runtime: 'ideal',
      workload: {
        phase: 'decode',
        tokensPerGpu: 60,
        steps: 2,
        kvTokens: 300_000,
        routing: { kind: 'zipf', exponent: 0.5 },
      },
      policies: ['ep'],
      scope: 'model',
    };
    const { faults } = await run(scenario);
    const [{ before, after, recovery }] = faults![0].policies;
    expect(after.peakMemory.max).toBeGreaterThan(before.peakMemory.max);
    expect(after.stepLatency * after.tokensPerSecond).toBeCloseTo(240, 6);
    expect(recovery!.stepsMissed).toBeCloseTo(recovery!.seconds / before.stepLatency, 9);
  });
});

describe('a lost GPU beside what else a scenario says', () => {
  const lost = { kind: 'gpu-lost' as const, gpu: 1, atStep: 3 };

  it('experts of few bits are few bytes after it too, and to be recovered', async () => {
    const scenario = withFaults([lost], { policies: ['ep'], precision: { bits: 4 } });
    const { resolved } = await openScenario(scenario);
    const { faults } = await run(scenario);
    const [{ before, recovery, after }] = faults![0].policies;
    const bytes = expertBytes(resolved.machine, 4.25);
    expect(recovery!.bytes.storage).toBe(2 * 3 * bytes);
    expect(before.experts.bytes).toBe(2 * 3 * bytes);
    expect(after.experts.bytes).toBe(3 * 3 * bytes);
  });

  it('candidates go with their tokens', async () => {
    const routing = { kind: 'gate' as const, gateWeights: true as const };
    const policies: ScenarioInput['policies'] = [
      'ep',
      { kind: 'laser', candidates: 8, peaked: 2, cutoff: 0 },
    ];
    const { faults } = await run(withFaults([lost], { policies, workload: { ...base.workload, routing } }));
    // All experts are candidates, the least loaded gets the token: nothing is left to balance.
    expect(faults![0].policies[1].after.gamma).toBeLessThan(1.3);
  });

  it('skipped copies stay skipped', async () => {
    const routing = { ...base.workload.routing, tokens: true, gateWeights: true };
    const pruning = { kind: 'keep-share' as const, share: 0.6 };
    const workload = { ...base.workload, routing, pruning };
    const { resolved } = await openScenario(withFaults([], { workload }));
    const source = onSurvivors(resolved.source, [0, 2, 3], 'moved');
    const [whole, left] = [resolved.source.start().next()!, source.start().next()!];
    const copies = ({ layers }: RoutingStep) => layers[0].counts.reduce((sum, own) => sum + own, 0);
    expect(copies(left)).toBe(copies(whole));
    expect(copies(left)).toBe(Math.round(0.6 * 4 * 64 * 2));
  });

  it('numbers of nodes stay those of the scenario', async () => {
    const link = { kind: 'link' as const, node: 1, factor: 0.5, atStep: 4 };
    await expect(run(withFaults([lost, link]))).rejects.toThrow('cluster.faults[1].node: found 1, allowed');
  });

  it('comes after the warm-up', async () => {
    const scenario = withFaults([{ ...lost, atStep: 2 }], { workload: { ...base.workload, warmupSteps: 2 } });
    await expect(run(scenario)).rejects.toThrow(
      'cluster.faults[0].atStep: found 2 in the warm-up of 2 steps',
    );
  });
});

describe('routing on survivors', () => {
  const steps = (source: RoutingSource): RoutingStep[] => {
    const stream = source.start();
    const all: RoutingStep[] = [];
    for (let step = stream.next(); step !== null; step = stream.next()) {
      all.push(structuredClone({ ...step }));
    }
    return all;
  };
  const byExpert = (counts: Int32Array, experts: number) => {
    const loads = new Float64Array(experts);
    counts.forEach((copies, i) => (loads[i % experts] += copies));
    return [...loads];
  };

  it.each([
    ['tokens', { kind: 'zipf', exponent: 1, tokens: true }],
    ['counts', { kind: 'zipf', exponent: 1 }],
  ] as const)('conserves every expert’s copies and all tokens (%s)', async (_, routing) => {
    const { resolved } = await openScenario({ ...base, workload: { ...base.workload, routing } });
    const whole = steps(resolved.source);
    const moved = steps(onSurvivors(resolved.source, [0, 2], 'moved'));
    const dropped = steps(onSurvivors(resolved.source, [0, 2], 'dropped'));
    whole.forEach((step, i) => {
      const counts = step.layers[0].counts;
      expect(byExpert(moved[i].layers[0].counts, 8)).toEqual(byExpert(counts, 8));
      expect(moved[i].tokens).toBe(step.tokens);
      expect([...moved[i].tokensBySource]).toEqual([128, 128]);
      expect([...dropped[i].layers[0].counts]).toEqual([...counts.slice(0, 8), ...counts.slice(16, 24)]);
      expect(dropped[i].tokens).toBe(128);
      const { tokens } = moved[i].layers[0];
      if (tokens !== null) expect(tokens.count).toBe(step.tokens);
    });
  });
});

describe('faults that cannot be', () => {
  const lost = { kind: 'gpu-lost', gpu: 3, atStep: 3 } as const;
  it.each<[string, ScenarioInput, string]>([
    [
      'a policy that cannot run with one GPU less',
      withFaults([lost], { policies: [{ kind: 'eplb', placement: { kind: 'eplb', slots: 16 } }] }),
      'policies[0].placement.slots: found 16 on 3 GPUs with the 3 GPUs from step 3 on, allowed: a multiple of 3',
    ],
    [
      'a GPU that is not there',
      withFaults([{ ...lost, gpu: 4 }]),
      'cluster.faults[0].gpu: found 4, allowed: a GPU that is there then: 0, 1, 2, 3',
    ],
    [
      'a GPU that is lost already',
      withFaults([lost, { kind: 'link', gpu: 3, factor: 0.5, atStep: 4 }]),
      'cluster.faults[1].gpu: found 3, allowed: a GPU that is there then: 0, 1, 2',
    ],
    [
      'a step after the last',
      withFaults([{ ...lost, atStep: 6 }]),
      'cluster.faults[0].atStep: found 6 of 6 steps, allowed: 1 to 5',
    ],
    [
      'nodes that differ in GPUs',
      withFaults([lost], { cluster: { gpusPerNode: 2 } }),
      'cluster.faults[0].kind: found gpu-lost in a cluster of 2 nodes, which would then differ in GPUs, allowed: node-lost',
    ],
    [
      'the only node',
      withFaults([{ kind: 'node-lost', node: 0, atStep: 3 }]),
      'node-lost of all 4 GPUs, allowed: a loss that leaves some',
    ],
    [
      'a link of nobody',
      withFaults([{ kind: 'link', factor: 0.5, atStep: 3 }]),
      'cluster.faults[0]: found neither gpu nor node, allowed: one of them',
    ],
    [
      'more than all',
      withFaults([{ kind: 'link', gpu: 0, factor: 2, atStep: 3 }]),
      'cluster.faults[0].factor: found 2',
    ],
    [
      'a training',
      withFaults([lost], {
        policies: ['ep'],
        runtime: 'megatron-alltoall',
        workload: { ...base.workload, phase: 'training' },
      }),
      'cluster.faults: found faults in a training',
    ],
  ])('%s', async (_, scenario, message) => {
    await expect(openScenario(scenario)).rejects.toThrow(message);
  });
});

describe('scenarios/systems', () => {
  const read = async (name: string) =>
    run(
      JSON.parse(
        readFileSync(new URL(`../../scenarios/systems/${name}.json`, import.meta.url), 'utf8'),
      ) as ScenarioInput,
    );

  it('gpu-lost: spare slots save loads from host memory, and every policy still fits', async () => {
    const [{ policies }] = (await read('gpu-lost')).faults!;
    const [ep, eplb, , spare] = policies;
    expect(spare.recovery!.bytes.storage).toBeLessThan(0.5 * ep.recovery!.bytes.storage);
    expect(eplb.after.stepLatency).toBeLessThan(ep.after.stepLatency);
    for (const { after } of policies) {
      expect(after.peakMemory.verdict).toBe('fits');
      expect(after.experts.fit).toBe(true);
    }
  });

  it('slow-link: balanced experts lose more to a slow NIC, and half the nodes keep more than half the throughput', async () => {
    const [slow, lost] = (await read('slow-link')).faults!;
    const left = ({ policies }: typeof slow, i: number) =>
      policies[i].after.tokensPerSecond / policies[i].without.tokensPerSecond;
    expect(left(slow, 0)).toBeLessThan(1);
    expect(left(slow, 1)).toBeLessThan(left(slow, 0));
    expect(left(lost, 1)).toBeGreaterThan(0.5);
    expect(lost.gpus).toEqual([16, 8]);
  });
});
