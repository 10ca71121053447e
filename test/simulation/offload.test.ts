/** Experts that do not fit the GPUs: HOBBIT's figures (arXiv 2411.01433), and what must hold of any such machine. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { openScenario, run } from '../../src/run.js';
import type { ScenarioInput } from '../../src/scenario/index.js';
import type { OffloadResult, OffloadStrategyResult } from '../../src/simulation/index.js';

type Offload = NonNullable<ScenarioInput['offload']>;

function scenarioOf(file: string): ScenarioInput {
  return JSON.parse(
    readFileSync(new URL(`../../scenarios/systems/${file}`, import.meta.url), 'utf8'),
  ) as ScenarioInput;
}

function byLabel({ strategies }: OffloadResult): (label: string) => OffloadStrategyResult {
  return (label) => {
    const found = strategies.filter((strategy) => strategy.label === label);
    expect(found.length, label).toBe(1);
    return found[0];
  };
}

describe('HOBBIT on a 4090 with Mixtral, 48 slots of high and 32 of low precision', () => {
  let of: ReturnType<typeof byLabel>;
  /** How many times the tokens of another strategy. */
  const gain = (label: string, over: string) => of(over).stepLatency.mean / of(label).stepLatency.mean;
  const penalty = (label: string) => of(label).missPenalty;

  beforeAll(async () => {
    of = byLabel((await run(scenarioOf('hobbit-mixtral.json'))).offload!);
  });

  it('(i) splits classes 67 / 30 / 3 %, within 3 points', () => {
    const { high, low, skip } = of('mixed, mixture').classes;
    expect(Math.abs(high - 0.67)).toBeLessThan(0.03);
    expect(Math.abs(low - 0.3)).toBeLessThan(0.03);
    expect(Math.abs(skip - 0.03)).toBeLessThan(0.03);
    expect(of('mixed, mixture').slots).toEqual({ high: 48, low: 32 });
  });

  it('(ii) gains 1.19 to 1.57 by mixed precision where loads bind, below the 1.34 of misses that know no class', () => {
    const mixed = gain('mixed, mixture', 'high, mixture');
    expect(mixed).toBeGreaterThan(1.19);
    expect(mixed).toBeLessThan(1 / (0.67 + 0.3 / 4));
  });

  it('(iii) gains 0.97 to 1.03 by prefetching alone, and 1.03 to 1.08 with mixed precision', () => {
    const alone = gain('high, mixture, prefetch 2', 'high, mixture');
    expect(alone).toBeGreaterThan(0.97);
    expect(alone).toBeLessThan(1.03);
    const mixed = gain('mixed, mixture, prefetch 2', 'mixed, mixture');
    expect(mixed).toBeGreaterThan(1.03);
    expect(mixed).toBeLessThan(1.08);
  });

  it('(iv) pays 4 to 11 % less for misses with equal weights than LRU, and 2 to 5 % less than LFU', () => {
    const overLru = 1 - penalty('mixed, mixture') / penalty('mixed, lru');
    expect(overLru).toBeGreaterThan(0.04);
    expect(overLru).toBeLessThan(0.11);
    const overLfu = 1 - penalty('mixed, mixture') / penalty('mixed, lfu');
    expect(overLfu).toBeGreaterThan(0.02);
    expect(overLfu).toBeLessThan(0.05);
    for (const rule of ['lru', 'lfu', 'lhu', 'fld']) {
      expect(penalty(`mixed, ${rule}`), rule).toBeLessThan(penalty('mixed, random'));
      expect(penalty('mixed, mixture'), rule).toBeLessThan(penalty(`mixed, ${rule}`));
    }
  });

  it('(v) waits for experts 80 to 95 % of the time', () => {
    for (const label of ['high, mixture', 'mixed, mixture', 'mixed, mixture, prefetch 2']) {
      expect(of(label).loadingShare, label).toBeGreaterThan(0.8);
      expect(of(label).loadingShare, label).toBeLessThan(0.95);
    }
  });

  it('serves more tokens where the host computes what is missing, in half the time of a load', () => {
    expect(gain('high, mixture, cpu', 'high, mixture')).toBeGreaterThan(1.2);
    expect(of('high, mixture, cpu').byHost).toBeGreaterThan(0);
  });
});

const small: ScenarioInput = {
  model: {
    hiddenSize: 1024,
    expertHiddenSize: 2048,
    experts: 8,
    topK: 2,
    moeLayers: 4,
    attention: { kind: 'gqa', heads: 8, kvHeads: 2, headSize: 128 },
    vocabulary: 32_000,
  },
  cluster: { gpu: 'h100', gpus: 1 },
  workload: {
    phase: 'decode',
    tokensPerGpu: 1,
    kvTokens: 512,
    warmupSteps: 40,
    steps: 120,
    routing: { kind: 'decode-reuse', sequenceTokens: 32 },
  },
  policies: ['ep'],
  scope: 'model',
};
const EXPERT = 3 * 1024 * 2048 * 2;

function offloaded(offload: Offload, change: object = {}): ScenarioInput {
  return { ...small, ...change, offload };
}

const strategies: Offload['strategies'] = [
  { precision: 'high', evict: 'lru' },
  { precision: 'high', evict: 'mixture', prefetchLayers: 2 },
  { precision: 'mixed', evict: 'random' },
  { precision: 'mixed', evict: 'fld', prefetchLayers: 1 },
];

describe.each([
  ['one GPU', {}],
  ['four GPUs', { cluster: { gpu: 'h100', gpus: 4 } }],
])('experts on %s', (_, change) => {
  it('take the time of EP once all of them are in memory', async () => {
    const { offload, policies } = await run(offloaded({ cacheBytes: 40e9, strategies }, change));
    const ep = policies.find(({ policy }) => policy.kind === 'ep')!;
    for (const { label, stepLatency, loadingShare, hitRatio } of offload!.strategies.slice(0, 2)) {
      expect(loadingShare, label).toBe(0);
      expect(hitRatio.high, label).toBe(1);
      expect(stepLatency.mean / ep.stepLatency.mean, label).toBeCloseTo(1, 9);
    }
  });

  it('that are wanted are found, on their way or loaded, and every load is bytes on a link', async () => {
    const { offload } = await run(
      offloaded({ cacheBytes: 14 * EXPERT, lowCacheShare: 0.2, strategies }, change),
    );
    const { expertBytes } = offload!;
    for (const s of offload!.strategies) {
      for (const precision of ['high', 'low'] as const) {
        const found = s.hitRatio[precision] * s.requests[precision];
        expect(found + s.late[precision] + s.demanded[precision], s.label).toBeCloseTo(
          s.requests[precision],
          6,
        );
      }
      const loads = (precision: 'high' | 'low') =>
        (s.demanded[precision] + s.prefetched[precision]) * expertBytes[precision];
      expect(s.loadedBytes * 80, s.label).toBeCloseTo(loads('high') + loads('low'), 0);
      expect(s.prefetched.useful + s.prefetched.wasted).toBeLessThanOrEqual(
        s.prefetched.high + s.prefetched.low + s.slots.high + s.slots.low + 1,
      );
      expect(s.linkBusyShare, s.label).toBeLessThanOrEqual(1);
    }
  });
});

describe('one GPU without prefetching', () => {
  it('computes or waits, and waits as long as its loads take', async () => {
    const hostLink = { bytesPerSecond: 10e9, latencySeconds: 1e-5 };
    const evictions = ['lru', 'lfu', 'fld', 'mixture', 'random'] as const;
    const { offload, policies } = await run(
      offloaded({
        cacheBytes: 10 * EXPERT,
        hostLink,
        strategies: evictions.map((evict) => ({ precision: 'high', evict })),
      }),
    );
    const ep = policies.find(({ policy }) => policy.kind === 'ep')!;
    for (const s of offload!.strategies) {
      const waited = s.loadingShare * s.stepLatency.mean;
      expect(s.stepLatency.mean - waited, s.label).toBeCloseTo(ep.stepLatency.mean, 9);
      const loads = s.demanded.high / 80;
      expect(waited, s.label).toBeCloseTo(loads * (EXPERT / 10e9 + 1e-5), 9);
      expect(s.missPenalty).toBeCloseTo(loads, 9);
    }
  });

  it('waits for the SSD where the host has no memory, and for the host’s link where the SSD is faster', async () => {
    const waits = async (ssd: number, hostMemoryBytes: number) => {
      const { offload } = await run(
        offloaded({
          cacheBytes: 10 * EXPERT,
          hostLink: { bytesPerSecond: 10e9 },
          hostMemoryBytes,
          ssd: { bytesPerSecond: ssd },
          strategies: [{ precision: 'high', evict: 'lfu' }],
        }),
      );
      const [{ loadingShare, stepLatency, demanded, ssdBytes, loadedBytes }] = offload!.strategies;
      return { perLoad: (80 * loadingShare * stepLatency.mean) / demanded.high, ssdBytes, loadedBytes };
    };
    const slow = await waits(2e9, 0);
    expect(slow.perLoad).toBeCloseTo(EXPERT / 2e9, 9);
    expect(slow.ssdBytes).toBe(slow.loadedBytes);
    expect((await waits(50e9, 0)).perLoad).toBeCloseTo(EXPERT / 10e9, 9);
    const large = await waits(2e9, 1e12);
    expect(large.perLoad).toBeCloseTo(EXPERT / 10e9, 9);
    expect(large.ssdBytes).toBe(0);
  });
});

describe('an offload that cannot be run', () => {
  it.each<[string, object, object, string]>([
    [
      'scope',
      { scope: 'layer', workload: { ...small.workload, kvTokens: undefined } },
      {},
      'offload: found it in scope layer',
    ],
    ['runtime', { runtime: 'deepep-low-latency' }, {}, 'runtime: found deepep-low-latency, allowed: ideal'],
    ['policy', { policies: ['llep'] }, {}, 'policies: found llep, allowed: ep'],
    ['precision', { precision: { bits: 4 } }, {}, 'precision: found bits of experts'],
    [
      'pruning',
      { workload: { ...small.workload, pruning: { kind: 'threshold', least: 0.2 } } },
      {},
      'workload.pruning: found pruned tokens',
    ],
    [
      'faults',
      { cluster: { gpu: 'h100', gpus: 1, faults: [{ kind: 'link', atStep: 60, gpu: 0, factor: 0.5 }] } },
      {},
      'cluster.faults: found faults',
    ],
    [
      'gate weights',
      { workload: { ...small.workload, routing: { kind: 'zipf', exponent: 1, tokens: true } } },
      {},
      'gateWeights: true',
    ],
    [
      'tokens',
      { workload: { ...small.workload, routing: { kind: 'zipf', exponent: 1 } } },
      {},
      'found counts, allowed: tokens',
    ],
    ['cache', {}, { cacheBytes: 2 * EXPERT }, 'offload.cacheBytes: found'],
    ['ssd', {}, { hostMemoryBytes: 1e9 }, 'offload.ssd: found nothing'],
    ['cpu', {}, { strategies: [{ miss: 'cpu' }] }, 'offload.strategies[0].miss: found cpu'],
    ['thresholds', {}, { highUpTo: 0.95 }, 'offload.highUpTo: found 0.95'],
    ['weights', {}, { strategies: [{ evict: { lru: 0.5 } }] }, 'weights that sum to 1'],
  ])('says so: %s', async (_, change, offload, message) => {
    const scenario = offloaded({ strategies: [{ precision: 'mixed' }], ...offload }, change);
    await expect(openScenario(JSON.parse(JSON.stringify(scenario)))).rejects.toThrow(message);
  });
});

describe('experts of Qwen3-235B that do not fit four H100', () => {
  it('wait less with equal weights than with LRU, and less still with mixed precision and with prefetching', async () => {
    const of = byLabel((await run(scenarioOf('offload-expert-parallel.json'))).offload!);
    const steps = ['high, lru', 'high, mixture', 'mixed, mixture', 'mixed, mixture, prefetch 2'].map(
      (label) => of(label).stepLatency.mean,
    );
    expect(steps).toEqual([...steps].sort((a, b) => b - a));
  });
});
