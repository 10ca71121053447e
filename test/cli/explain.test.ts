/** `epsim explain`: on the scenario that is worked out on paper, and against what `epsim run` says of others. */
import { describe, expect, it } from 'vitest';
import type { Result } from '../../src/index.js';
import type { Explanation } from '../../src/simulation/index.js';
import { epsim, small, workFolder, writeJson } from './epsim.js';

const folder = workFolder();
const hand = 'test/golden/hand-scenario.json';

function explain(...args: string[]): Explanation {
  const { status, stdout, stderr } = epsim(['explain', ...args, '--format', 'json']);
  expect([status, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as Explanation;
}

describe('epsim explain, worked out by hand', () => {
  const { policies } = explain(hand);
  const of = (kind: string) => policies.find(({ policy }) => policy.kind === kind)!;
  const secondsOf = (kind: string) =>
    Object.fromEntries(of(kind).phases.map(({ phase, seconds }) => [phase, seconds]));

  it('ep waits for GPU 0, which has 12 of 20 copies, all of expert 0', () => {
    const { gpus, experts, layers, waiting, transfer } = of('ep');
    expect(secondsOf('ep').experts).toBeCloseTo(0.243, 12);
    expect(transfer).toBeCloseTo(0.012, 12);
    expect(gpus.map(({ slowest }) => slowest)).toEqual([1, 0]);
    expect(gpus[0].load).toBeCloseTo(1.2, 12);
    expect(gpus[0].work).toBeCloseTo(0.243, 12);
    // GPU 1 is ready 4 rows' time of 11 ms earlier.
    expect(gpus[1].waiting).toBeCloseTo(0.044, 12);
    expect(waiting).toBeCloseTo(0.022, 12);
    expect(layers).toEqual([
      {
        layer: 0,
        seconds: expect.closeTo(0.255, 12) as number,
        gamma: expect.closeTo(1.2, 12) as number,
        slowest: { gpu: 0, share: 1 },
      },
    ]);
    expect(experts[0]).toEqual({
      layer: 0,
      gpu: 0,
      expert: 0,
      share: 1,
      timesMean: expect.closeTo(1.2, 12) as number,
      shareOfGpu: 1,
    });
  });

  it('llep waits for the weights and for GPU 1: 154 ms more of weights, 11 ms less of experts', () => {
    const { phases, gpus } = of('llep');
    const beyond = Object.fromEntries(phases.map(({ phase, beyondEp }) => [phase, beyondEp]));
    expect(beyond.weights).toBeCloseTo(0.154, 12);
    expect(beyond.experts).toBeCloseTo(0.232 - 0.243, 12);
    expect(beyond.dispatch).toBeCloseTo(-0.006, 12);
    expect(phases.reduce((sum, { beyondEp }) => sum + beyondEp!, 0)).toBeCloseTo(0.39 - 0.255, 12);
    expect(gpus.map(({ slowest }) => slowest)).toEqual([0, 1]);
    // The weights enter GPU 1, and the combine is as long for both.
    expect(gpus[1].exchanges).toBeGreaterThanOrEqual(0.154);
  });

  it('says so in sentences', () => {
    const { stdout } = epsim(['explain', hand]);
    expect(stdout).toContain(
      'ep: a layer takes 255.0 ms: experts 243.0 ms (95.3 %), combine 6.00 ms (2.4 %), dispatch 6.00 ms (2.4 %).',
    );
    expect(stdout).toContain(
      'Its layers wait most often for GPU 0: its experts are the last in 100.0 % of them',
    );
    expect(stdout).toContain('Against ep: +135.0 ms: experts −11.00 ms, dispatch −6.00 ms');
  });
});

describe('epsim explain, against epsim run', () => {
  const history = { kind: 'window', steps: 4, interval: 4 };
  const scenario = writeJson(folder, 'history.json', {
    ...small,
    workload: {
      ...small.workload,
      steps: 16,
      layer: 'all',
      routing: { kind: 'log-normal', sigma: 1, redraw: 'step' },
    },
    policies: ['ep', { kind: 'eplb', history }, { kind: 'eplb', history, movement: 'async' }, 'llep'],
    resamples: 0,
  });
  const run = (...policies: string[]) =>
    JSON.parse(
      epsim(['run', scenario, ...policies.flatMap((policy) => ['--policy', policy]), '--format', 'json'])
        .stdout,
    ) as Result;
  const { policies } = explain(scenario);

  it('phases sum to the step that a run shows', () => {
    const result = run();
    policies.forEach((own, i) => {
      expect(own.seconds / result.policies[i].stepLatency.mean).toBeCloseTo(1, 10);
      expect(own.waiting).toBeCloseTo(result.policies[i].time.waiting, 12);
      const critical = Object.entries(result.policies[i].time.critical);
      for (const [phase, seconds] of critical)
        expect(own.phases.find((other) => other.phase === phase)!.seconds).toBeCloseTo(seconds, 12);
    });
  });

  it('placements: the balance that steps showed, and the one of EPLB with oracle load', () => {
    const found = policies[1].prediction!;
    const oracle = run('{"kind":"eplb","history":"oracle"}', JSON.stringify({ kind: 'eplb', history }));
    const [limit, own] = oracle.policies.map(({ imbalance }) => imbalance.gpu.after.maxOverMean);
    expect(found.realised).toBeCloseTo(own, 10);
    expect(found.oracle).toBeCloseTo(limit, 10);
    // Popularity is drawn anew in every step: what was seen says nothing of what comes.
    expect(found.realised - found.oracle).toBeGreaterThan(0.1);
    // Plans of steps 4, 8 and 12 are in force from the first step that counts on, in each of two layers.
    expect(found.rebalances.map(({ layer, step, steps }) => [layer, step, steps])).toEqual([
      [0, 0, 4],
      [1, 0, 4],
      [0, 4, 4],
      [1, 4, 4],
      [0, 8, 4],
      [1, 8, 4],
    ]);
    expect(policies[0].prediction).toBeNull();
    expect(policies[3].prediction).toBeNull();
  });

  it('in the background a placement counts from the step on in which it is in force', () => {
    expect(policies[2].prediction!.rebalances.slice(0, 2).map(({ layer, step }) => [layer, step])).toEqual([
      [0, 1],
      [1, 2],
    ]);
  });

  it.each([
    [['none.json'], 'none.json: found no such file'],
    [[hand, '--policy', 'eplp'], 'policies[0]: found "eplp"'],
    [[hand, '--format', 'csv'], 'Allowed choices are text, json'],
  ])('refuses %j', (args, message) => {
    const { status, stdout, stderr } = epsim(['explain', ...args]);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toContain(message);
  });
});

it('counts an expert that a GPU holds several times once a step', () => {
  const { policies } = explain(
    'scenarios/signs/one-hot-across-nodes.json',
    '--policy',
    '{"kind":"eplb","placement":{"kind":"eplb","groups":8}}',
  );
  for (const { experts } of policies) {
    for (const { share, shareOfGpu } of experts) {
      expect(share).toBeLessThanOrEqual(1);
      expect(shareOfGpu).toBeLessThanOrEqual(1);
    }
  }
  // All copies of the hot node's group go to this expert's GPUs: nearly all that the slowest of them computes is its.
  expect(policies.find(({ policy }) => policy.kind === 'eplb')!.experts[0]).toMatchObject({
    expert: 0,
    share: 1,
  });
});

describe('epsim explain, of whole steps', () => {
  const kv = 'scenarios/model/kv-imbalance.json';

  it('tells waiting for attention from waiting for experts, as run does, and who is late', () => {
    const { policies } = explain(kv);
    const result = JSON.parse(epsim(['run', kv, '--format', 'json']).stdout) as Result;
    policies.forEach(({ waiting, waitingFor }, i) => {
      const { time } = result.policies[i];
      expect(waitingFor!.source / time.waitingFor!.source).toBeCloseTo(1, 9);
      expect(waitingFor!.experts).toBeCloseTo(time.waitingFor!.experts, 12);
      expect(waiting / time.waiting).toBeCloseTo(1, 9);
    });
    // GPU 0 reads 30 % more cache than the others, and routing is even: everyone waits for its attention alone.
    const [ep] = policies;
    expect(ep.waitingFor!.lastAtSource).toEqual({ gpu: 0, share: 1 });
    expect(ep.waitingFor!.experts).toBe(0);
    expect(epsim(['explain', kv]).stdout).toContain('(GPU 0 is the last most often, in 100.0 % of layers)');
  });

  it('what GPUs do at the same time is divided among them', () => {
    const even = writeJson(folder, 'even.json', {
      ...small,
      model: 'qwen3-30b-a3b',
      workload: {
        phase: 'prefill',
        tokensPerGpu: 64,
        promptTokens: 64,
        steps: 1,
        routing: { kind: 'balanced' },
      },
      policies: ['ep'],
      scope: 'model',
    });
    const [{ gpus, waitingFor }] = explain(even).policies;
    for (const { work } of gpus) expect(work / gpus[0].work).toBeCloseTo(1, 9);
    expect(waitingFor).toEqual({ source: 0, experts: 0, lastAtSource: null });
  });

  it('of layers alone there is no attention to wait for', () => {
    for (const { waitingFor } of explain(hand).policies) expect(waitingFor).toBeNull();
  });
});
