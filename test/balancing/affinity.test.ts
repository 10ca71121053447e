import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { policies, type PolicySetting } from '../../src/balancing/index.js';
import { slotsByGpu } from '../../src/balancing/placement.js';
import {
  affineLayer,
  keptShare,
  packedLayer,
  transitionsBetween,
} from '../../src/balancing/placements/affinity-layers.js';
import { affinity } from '../../src/balancing/placements/affinity.js';
import { loadMilpSolver } from '../../src/files/index.js';
import type { LayerBatch } from '../../src/routing/index.js';
import { policySetting } from './policy-setting.js';

const solver = await loadMilpSolver();

/** A batch from the experts of every token. */
function batchOf(layer: number, picks: number[][], experts: number): LayerBatch {
  const counts = new Int32Array(experts);
  picks.flat().forEach((expert) => counts[expert]++);
  const table = {
    count: picks.length,
    topK: picks[0].length,
    experts: Uint16Array.from(picks.flat()),
    source: new Uint16Array(picks.length),
    weights: null,
  };
  return { layer, counts, tokens: table };
}

const loadsOf = ({ counts }: LayerBatch) => Float64Array.from(counts);

/** Every way to put experts on GPUs, equally many on each. */
function* everyLayer(experts: number, gpus: number, gpuOf: number[] = []): Generator<number[]> {
  if (gpuOf.length === experts) yield gpuOf;
  else {
    for (let gpu = 0; gpu < gpus; gpu++) {
      const held = gpuOf.filter((own) => own === gpu).length;
      if (held < Math.ceil(experts / gpus)) yield* everyLayer(experts, gpus, [...gpuOf, gpu]);
    }
  }
}

function heaviest(gpuOf: ArrayLike<number>, loads: Float64Array, gpus: number): number {
  const gpuLoads = new Array<number>(gpus).fill(0);
  loads.forEach((load, expert) => (gpuLoads[gpuOf[expert]] += load));
  return Math.max(...gpuLoads);
}

describe('affinity of consecutive layers', () => {
  it('counts every pair of choices of a token', () => {
    const [a, b] = [batchOf(0, [[0, 1]], 3), batchOf(1, [[2, 1]], 3)];
    const pairs = transitionsBetween(a, b, 3);
    expect([...pairs]).toEqual([0, 1, 1, 0, 1, 1, 0, 0, 0]);
    // Expert 0 → 1 and 1 → 1 of four pairs are on one GPU.
    expect(keptShare(pairs, [0, 0, 1], [1, 0, 1], 1)).toBe(0.5);
  });

  it('brings experts of the same tokens together', () => {
    // Layer 0 in pairs on two GPUs; tokens of 0 and 1 go on to 3 and 2.
    const picks = [[0], [1], [2], [3]];
    const next = [[3], [2], [1], [0]];
    const pairs = transitionsBetween(batchOf(0, picks, 4), batchOf(1, next, 4), 4);
    const shape = { experts: 4, gpus: 2, gpusPerPlace: 1, balance: 1.1 };
    for (const by of [solver, null]) {
      const { gpuOf } = affineLayer(pairs, Int32Array.of(0, 0, 1, 1), Float64Array.of(1, 1, 1, 1), shape, by);
      expect([...gpuOf]).toEqual([1, 1, 0, 0]);
    }
  });

  const layers = fc.array(fc.tuple(fc.nat(5), fc.nat(5)), { minLength: 1, maxLength: 40 });

  test.prop([layers, fc.constantFrom(2, 3), fc.constantFrom(1, 1.2, 2)], { numRuns: 30 })(
    'HiGHS keeps as much as the best of all placements within the balance, and greed no more',
    (choices, gpus, balance) => {
      const a = batchOf(
        0,
        choices.map(([expert]) => [expert]),
        6,
      );
      const b = batchOf(
        1,
        choices.map(([, expert]) => [expert]),
        6,
      );
      const shape = { experts: 6, gpus, gpusPerPlace: 1, balance };
      const before = packedLayer(loadsOf(a), shape);
      const loads = loadsOf(b);
      const pairs = transitionsBetween(a, b, 6);
      const limit = Math.max(
        (balance * choices.length) / gpus,
        heaviest(packedLayer(loads, shape), loads, gpus),
      );
      let best = 0;
      for (const gpuOf of everyLayer(6, gpus)) {
        if (heaviest(gpuOf, loads, gpus) <= limit + 1e-9)
          best = Math.max(best, keptShare(pairs, before, gpuOf, 1));
      }
      const exact = affineLayer(pairs, before, loads, shape, solver);
      const greedy = affineLayer(pairs, before, loads, shape, null);
      expect([exact.how, greedy.how]).toEqual(['exact', 'greedy']);
      expect(keptShare(pairs, before, exact.gpuOf, 1)).toBeCloseTo(best, 9);
      expect(heaviest(exact.gpuOf, loads, gpus)).toBeLessThanOrEqual(limit + 1e-6);
      for (const { gpuOf } of [exact, greedy]) {
        for (let gpu = 0; gpu < gpus; gpu++) {
          expect(gpuOf.filter((own) => own === gpu).length).toBeLessThanOrEqual(6 / gpus);
        }
      }
    },
  );
});

describe('placement affinity', () => {
  const experts = 4;
  const batches = [
    batchOf(0, [[0], [1], [2], [3], [0]], experts),
    batchOf(1, [[3], [2], [1], [0], [3]], experts),
  ];
  const setting = policySetting(2, experts, {
    layers: 2,
    layerIds: [4, 5],
    moeLayers: 8,
    hasTokens: true,
    calibration: () => batches.map(loadsOf),
    calibrationLayers: () => batches,
    solver,
  });
  const eplb = policies.find(({ kind }) => kind === 'eplb')!;
  const options = eplb.options.parse({ kind: 'eplb', placement: { kind: 'affinity', balance: 2 } });
  const refused = (change: Partial<PolicySetting>, chosen: object = options) =>
    (eplb.refusal as (o: object, s: PolicySetting) => { option: string; found: string } | null)(chosen, {
      ...setting,
      ...change,
    });

  it('keeps the pairs of the calibration on one GPU, and says how and that no byte becomes local', () => {
    const site = { ...setting, calibrationShare: 0.1 };
    const chosen = affinity.options.parse({ kind: 'affinity', balance: 2 });
    const placed = affinity.start(chosen, site).place([], [setting.placement, setting.placement]);
    const [first, second] = placed.map((placement) => slotsByGpu(placement!));
    // Where 0 is, 3 follows; where 1 is, 2 does.
    const partner = [3, 2, 1, 0];
    const follows = first.map((own) => own.map((expert) => partner[expert]).sort());
    expect(second.map((own) => [...own].sort())).toEqual(follows);
    const [how, bytes] = affinity.notes!(chosen, site);
    expect(how).toContain('1 by HiGHS, exact; 100.0 % of');
    expect(bytes).toContain('no byte becomes local');
    const greedy = affinity.notes!({ ...chosen, exactUpTo: 0 }, site);
    expect(greedy[0]).toContain('1 by greed');
  });

  it('is refused without tokens, without consecutive layers, and with a history of the run', () => {
    expect(refused({})).toBeNull();
    expect(refused({ hasTokens: false })).toMatchObject({ option: 'placement' });
    const node = eplb.options.parse({ kind: 'eplb', placement: { kind: 'affinity', within: 'node' } });
    expect(refused({}, node)).toMatchObject({ option: 'placement.within' });
    expect(refused({ layerIds: [4, 6] })!.found).toContain('none follows another');
    const window = eplb.options.parse({ kind: 'eplb', placement: 'affinity', history: 'window' });
    expect(refused({}, window)).toMatchObject({ option: 'history' });
  });
});
