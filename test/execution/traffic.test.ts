import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { LayerLoads, LayerWork, type PlannedBatch } from '../../src/balancing/index.js';
import { EveryToken, OncePerGpu } from '../../src/execution/traffic/index.js';
import { openScenario } from '../../src/run.js';
import type { ScenarioInput } from '../../src/scenario/index.js';
import { simulateScenario } from '../simulation/random-scenario.js';

/** One step of standard EP with its tokens, and the machine it runs on. */
async function batchOf(scenario: ScenarioInput) {
  const { resolved } = await openScenario({ ...scenario, policies: ['ep'] });
  const { machine, source } = resolved;
  const { gpus } = machine.cluster;
  const { layers, tokensBySource } = source.start().next()!;
  const { experts } = machine.shape;
  const home = Int32Array.from({ length: experts }, (_, e) => Math.floor((e * gpus) / experts));
  const base = new LayerLoads(gpus, experts, home).count(layers[0].counts);
  const plan = { placement: { home }, slices: null, slotCopies: null, drop: null, uniform: false };
  const batch = { plan, base, tokens: layers[0].tokens, tokensBySource } as unknown as PlannedBatch;
  const send = { send: base.homeSend } as LayerWork;
  return { machine, batch: { ...batch, work: send }, home };
}

function scenario(change: Partial<ScenarioInput> = {}, routing: object = {}): ScenarioInput {
  return {
    model: { hiddenSize: 512, expertHiddenSize: 256, experts: 32, topK: 4 },
    cluster: { gpu: 'h100', gpus: 8, gpusPerNode: 4 },
    workload: {
      phase: 'prefill',
      tokensPerGpu: 200,
      steps: 1,
      routing: {
        kind: 'zipf',
        exponent: 0.7,
        tokens: true,
        ...routing,
      },
    },
    policies: ['ep'],
    ...change,
  };
}

const total = (values: ArrayLike<number>) => Array.from(values).reduce((sum, value) => sum + value, 0);

describe('a token once per GPU and node', () => {
  test.prop([fc.nat(1000), fc.constantFrom([8, 4], [8, 8], [8, 2]), fc.integer({ min: 1, max: 6 })], {
    numRuns: 40,
  })('is counted as sets of destinations say', async (seed, [gpus, gpusPerNode], topK) => {
    const { machine, batch, home } = await batchOf(
      scenario({
        seed,
        model: { hiddenSize: 512, expertHiddenSize: 256, experts: 32, topK },
        cluster: { gpu: 'h100', gpus, gpusPerNode },
      }),
    );
    const expected = new Map<string, number>();
    const add = (from: number, to: number) => {
      if (from !== to) expected.set(`${from}>${to}`, (expected.get(`${from}>${to}`) ?? 0) + 1);
    };
    const { count, experts, source } = batch.tokens!;
    for (let token = 0; token < count; token++) {
      const from = source[token];
      const targets = new Set(Array.from(experts.subarray(token * topK, (token + 1) * topK), (e) => home[e]));
      const nodes = new Set([...targets].map((gpu) => Math.floor(gpu / gpusPerNode)));
      const relayOf = (node: number) => node * gpusPerNode + (from % gpusPerNode);
      for (const node of nodes) add(from, relayOf(node));
      for (const gpu of targets) add(relayOf(Math.floor(gpu / gpusPerNode)), gpu);
    }
    // A GPU of the own node that is also the relay of its source is reached without a hop.
    const traffic = new OncePerGpu(machine);
    const messages = traffic.messages(batch);
    for (let from = 0; from < gpus; from++) {
      for (let to = 0; to < gpus; to++) {
        if (from !== to) expect(messages[from * gpus + to]).toBe(expected.get(`${from}>${to}`) ?? 0);
      }
    }
  });

  it.each([
    ['alike', { exponent: 0 }, {}],
    ['skewed', { exponent: 0.7 }, {}],
    ['hot', { exponent: 1.2 }, {}],
    ['of 4 of 8 groups', { exponent: 0.3 }, { routerGroups: 8, topGroups: 4, experts: 64, topK: 8 }],
  ])(
    'expected from counts: within 5 %% of tokens that pick experts independently (%s)',
    async (_, routing, model) => {
      const shape = { hiddenSize: 512, expertHiddenSize: 256, experts: 32, topK: 4, ...model };
      const { machine, batch } = await batchOf(
        scenario({ model: shape, cluster: { gpu: 'h100', gpus: 8, gpusPerNode: 2 } }, routing),
      );
      const traffic = new OncePerGpu(machine);
      const exact = Float64Array.from(traffic.messages(batch));
      const received = Float64Array.from(traffic.received);
      const expected = traffic.messages({ ...batch, tokens: null });
      const between = (matrix: ArrayLike<number>) =>
        total(Array.from(matrix).filter((_, cell) => Math.floor((cell % 8) / 2) !== Math.floor(cell / 16)));
      expect(Math.abs(between(expected) / between(exact) - 1)).toBeLessThan(0.05);
      expect(Math.abs(total(traffic.received) / total(received) - 1)).toBeLessThan(0.05);
    },
  );

  it('of a group-limited router uses fewer nodes', async () => {
    const nodes = async (topGroups: number) => {
      const shape = {
        hiddenSize: 512,
        expertHiddenSize: 256,
        experts: 64,
        topK: 8,
        routerGroups: 8,
        topGroups,
      };
      const { machine, batch } = await batchOf(
        scenario({ model: shape, cluster: { gpu: 'h100', gpus: 16, gpusPerNode: 2 } }, { exponent: 0.3 }),
      );
      const perToken = (matrix: ArrayLike<number>) =>
        total(Array.from(matrix).filter((_, cell) => Math.floor((cell % 16) / 2) !== Math.floor(cell / 32))) /
        batch.tokens!.count;
      const traffic = new OncePerGpu(machine);
      const exact = perToken(traffic.messages(batch));
      return { exact, expected: perToken(traffic.messages({ ...batch, tokens: null })) };
    };
    const [limited, free] = [await nodes(4), await nodes(8)];
    // Of eight nodes of a group each, at most four, one of which may be the token's own.
    expect(limited.exact).toBeLessThanOrEqual(4);
    expect(free.exact).toBeGreaterThan(4.2);
    expect(limited.expected).toBeLessThanOrEqual(4);
  });

  it('follows slices and slots to the GPUs that compute a copy', async () => {
    const policies: ScenarioInput['policies'] = [
      { kind: 'llep', minTokensPerGemm: 1, imbalanceThreshold: 1 },
      { kind: 'eplb', dispatch: 'even' },
      { kind: 'capacity', factor: 0.8 },
    ];
    let layers = 0;
    await simulateScenario(
      { ...scenario(), runtime: 'deepep-normal', policies },
      ({ work, ports, policy }) => {
        if (policy.anchor) return;
        layers++;
        // Every copy that leaves its source travels by a message that stands for one to topK copies.
        const away = total(work.send.filter((_, cell) => Math.floor(cell / 8) !== cell % 8));
        expect(ports.total).toBeLessThanOrEqual(2 * away);
        expect(ports.total).toBeGreaterThanOrEqual(away / 4);
      },
    );
    expect(layers).toBe(4);
  });
});

describe('every token to every GPU', () => {
  it('puts on every port what rings over all NICs do', () => {
    const traffic = new EveryToken(8, 4);
    const messages = traffic.messages({ tokensBySource: new Float64Array(8).fill(10) });
    const far = (gpu: number) =>
      total(Array.from({ length: 8 }, (_, from) => (from >> 2 === gpu >> 2 ? 0 : messages[from * 8 + gpu])));
    const near = (gpu: number) =>
      total(
        Array.from({ length: 8 }, (_, from) =>
          from === gpu || from >> 2 !== gpu >> 2 ? 0 : messages[from * 8 + gpu],
        ),
      );
    for (let gpu = 0; gpu < 8; gpu++) {
      // A quarter of the other node's tokens by NIC; all others by NVLink.
      expect(far(gpu)).toBe(10);
      expect(near(gpu) + far(gpu) + 10).toBe(80);
      expect(traffic.received[gpu]).toBe(80);
    }
  });
});
