import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { splitOverReplicas, type Split } from '../../src/balancing/dispatch/split-over-replicas.js';
import { contiguous, planLayer } from '../../src/balancing/index.js';
import { placementOf, slotsByGpu } from '../../src/balancing/placement.js';
import { donorsNeeded, replicateQuantize } from '../../src/balancing/placements/replicate-quantize.js';
import { Slices } from '../../src/balancing/plan.js';

const sum = (values: ArrayLike<number>) => Array.from(values).reduce((total, value) => total + value, 0);

describe('replicate-quantize', () => {
  it.each([
    // One quantised expert per copy at half the bits, one per three copies at a quarter (spec §1.4).
    [1, 8, 16, 1],
    [5, 8, 16, 5],
    [1, 4, 16, 1],
    [3, 4, 16, 1],
    [4, 4, 16, 2],
    [1, 8, 32, 1],
    [1, 12, 16, 3],
    [0, 8, 16, 0],
  ])('%i replicas at %i of %i bits need %i donors', (replicas, bits, weightBits, donors) => {
    expect(donorsNeeded(replicas, bits, weightBits)).toBe(donors);
  });

  it('places replicas by hand: the hottest expert, on the least loaded GPU without it', () => {
    // GPU loads 70, 12, 20, 8; expert 0 gets its first replica on GPU 3 and its second on GPU 1.
    const base = contiguous(4, 8, 16);
    const loads = [60, 10, 8, 4, 15, 5, 6, 2];
    const importance = [9, 8, 7, 6, 5, 4, 3, 2];
    const rule = { bits: 8, donors: 'global' as const };
    const one = replicateQuantize(base, loads, importance, 16, { ...rule, replicas: 1 });
    expect(slotsByGpu(one)).toEqual([
      [0, 1],
      [2, 3],
      [4, 5],
      [6, 7, 0],
    ]);
    // Expert 7 is the least important: it pays.
    expect([...one.slotBits]).toEqual([16, 16, 16, 16, 16, 16, 16, 8, 8]);
    expect([...one.home]).toEqual([0, 0, 1, 1, 2, 2, 3, 3]);
    const two = replicateQuantize(base, loads, importance, 16, { ...rule, replicas: 2 });
    expect(slotsByGpu(two)).toEqual([
      [0, 1],
      [2, 3, 0],
      [4, 5],
      [6, 7, 0],
    ]);
    expect([...two.slotBits]).toEqual([16, 16, 16, 16, 8, 16, 16, 8, 8, 8]);
  });

  it('per-gpu donors sit on the GPU that got the replica', () => {
    const base = contiguous(4, 8, 16);
    const placement = replicateQuantize(base, [60, 10, 8, 4, 15, 5, 6, 2], [1, 2, 3, 4, 5, 6, 8, 7], 16, {
      replicas: 1,
      bits: 8,
      donors: 'per-gpu',
    });
    expect([...placement.slotBits]).toEqual([16, 16, 16, 16, 16, 16, 16, 8, 8]);
  });

  it('donors by their losses: the widths that cost least together, not the least important experts', () => {
    // Two replicas of expert 0 at 8 bits: the seven others must save 16 of their 16 bits each.
    const base = contiguous(4, 8, 16);
    const loads = [60, 10, 8, 4, 15, 5, 6, 2];
    const importance = [9, 8, 7, 6, 5, 4, 3, 2];
    // At 8 bits 3 each; at 4 bits 100, but for experts 2 and 5, which hardly mind.
    const costs = loads.map((_, expert) => [expert === 2 ? 1 : expert === 5 ? 2 : 100, 3]);
    const planned = (least: number[][]) =>
      replicateQuantize(base, loads, importance, 16, {
        replicas: 2,
        bits: 8,
        donors: 'global',
        losses: { bits: [4, 8], costs: least },
      });
    // 12 + 8 bits by expert 2 at 4 and another at 8 cost 4; experts 2 and 5 at 4 cost 3.
    const two = planned(costs);
    expect(slotsByGpu(two)).toEqual([
      [0, 1],
      [2, 3, 0],
      [4, 5],
      [6, 7, 0],
    ]);
    expect([...two.slotBits]).toEqual([16, 16, 4, 16, 8, 16, 4, 16, 16, 8]);
    // Where 4 bits are dear for all, two at 8 pay: the cheapest two.
    const dear = loads.map((_, expert) => [100, expert === 3 ? 1 : expert === 6 ? 2 : 3]);
    expect([...planned(dear).slotBits]).toEqual([16, 16, 16, 8, 8, 16, 16, 8, 16, 8]);
  });

  test.prop([
    fc.array(fc.tuple(fc.nat(1000), fc.nat(1000)), { minLength: 8, maxLength: 8 }),
    fc.integer({ min: 1, max: 4 }),
  ])('donors by their losses: no other choice that pays costs less', (drawn, replicas) => {
    const base = contiguous(4, 8, 16);
    const loads = [8, 7, 6, 5, 4, 3, 2, 1];
    const costs = drawn.map(([a, b]) => [Math.max(a, b), Math.min(a, b)]);
    const widths = [4, 8];
    const placement = replicateQuantize(base, loads, loads, 16, {
      replicas,
      bits: 8,
      donors: 'global',
      losses: { bits: widths, costs },
    });
    expect(sum(placement.slotBits)).toBeLessThanOrEqual(8 * 16);
    const slots = slotsByGpu(placement);
    const held = slots.flatMap((own, gpu) => own.map((expert) => ({ expert, gpu })));
    const count = (expert: number) => held.filter((slot) => slot.expert === expert).length;
    const free = loads.map((_, e) => e).filter((e) => count(e) === 1);
    const bitsOf = (e: number) => placement.slotBits[held.findIndex((slot) => slot.expert === e)];
    const costOf = (e: number, bits: number) => (bits === 16 ? 0 : costs[e][widths.indexOf(bits)]);
    const found = sum(free.map((e) => costOf(e, bitsOf(e))));
    let best = Infinity;
    for (let code = 0; code < 3 ** free.length; code++) {
      const bits = free.map((_, i) => [4, 8, 16][Math.floor(code / 3 ** i) % 3]);
      if (sum(bits) > free.length * 16 - replicas * 8) continue;
      best = Math.min(best, sum(free.map((e, i) => costOf(e, bits[i]))));
    }
    expect(found).toBe(best);
  });

  test.prop([
    fc.array(fc.nat(1000), { minLength: 16, maxLength: 16 }),
    fc.integer({ min: 1, max: 5 }),
    fc.constantFrom(4, 8),
  ])(
    'never grows the weights of all GPUs together, and never doubles an expert on a GPU',
    (loads, replicas, bits) => {
      const base = contiguous(4, 16, 16);
      const importance = loads.map((_, e) => (e * 7) % 16);
      const placement = replicateQuantize(base, loads, importance, 16, { replicas, bits, donors: 'global' });
      expect(sum(placement.slotBits)).toBeLessThanOrEqual(16 * 16);
      slotsByGpu(placement).forEach((own) => expect(new Set(own).size).toBe(own.length));
      expect(placement.slotExpert.length).toBe(16 + replicas);
    },
  );

  it('cannot lower the largest load below the second largest or half (spec §1.6)', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 8, maxLength: 8 }), (loads) => {
        const plan = planLayer({ kind: 'replicate-quantize', split: 'even' }, { gpus: 4, experts: 8, loads });
        const instances = plan.slices.flatMap(([, ranges]) =>
          [0, 1, 2, 3].map((gpu) =>
            sum(ranges.filter(([g]) => g === gpu).map(([, start, end]) => end - start)),
          ),
        );
        const [first, second] = [...loads].sort((a, b) => b - a);
        expect(Math.max(...instances)).toBeGreaterThanOrEqual(Math.max(second, Math.floor(first / 2)));
        expect(Math.max(...instances)).toBeLessThanOrEqual(Math.max(second, Math.ceil(first / 2)));
      }),
    );
  });

  it.each([
    [{ bits: 16 }, {}, 'bits: found 16, allowed: 1 to 15, below the 16 bits'],
    [{ bits: 8 }, { weightBits: 4.25 }, 'bits: found 8, allowed: 1 to 4, below the 4.25 bits'],
    [{}, { gpus: 1 }, 'replicas: found 1 on one GPU, allowed: 0'],
    [{ replicas: 40 }, {}, 'replicas: found 40, allowed: at most 24'],
    [
      { replicas: 6, bits: 12 },
      {},
      'replicas: found 6, which at 12 of 16 bits need 18 experts to pay for them',
    ],
    [{ donors: 'per-gpu', bits: 14 }, {}, 'donors: found per-gpu, where a replica needs 7 experts of a GPU'],
  ] as const)('refuses %o on %o with the reason', (options, setting, message) => {
    const loads = [8, 7, 6, 5, 4, 3, 2, 1];
    expect(() =>
      planLayer({ kind: 'replicate-quantize', ...options }, { gpus: 4, experts: 8, loads, ...setting }),
    ).toThrow(message);
  });
});

describe('splitting copies over replicas', () => {
  const placement = placementOf(
    [
      [0, 1, 2],
      [2, 3, 0],
      [4, 5],
      [6, 7, 0],
    ],
    8,
    16,
  );
  const replicated = new Map([
    [0, [0, 1, 3]],
    [2, [0, 1]],
  ]);
  const countsArbitrary = fc.array(fc.oneof(fc.constant(0), fc.nat(40)), { minLength: 32, maxLength: 32 });

  function split(counts: number[], rule: Split): { slices: Slices; loads: number[] } {
    const loads = Array.from({ length: 8 }, (_, e) => sum(counts.filter((__, i) => i % 8 === e)));
    const slices = new Slices(1);
    splitOverReplicas(replicated, placement, Int32Array.from(counts), loads, rule, 'seed', slices);
    return { slices, loads };
  }

  test.prop([countsArbitrary, fc.constantFrom('random' as const, 'even' as const, 'least-loaded' as const)])(
    'covers every copy once, in order, and only instances get them',
    (counts, rule) => {
      const { slices, loads } = split(counts, rule);
      const reached = new Map<number, number>();
      for (let i = 0; i < slices.count; i++) {
        const expert = slices.expert[i];
        expect(slices.start[i]).toBe(reached.get(expert) ?? 0);
        expect(slices.end[i]).toBeGreaterThan(slices.start[i]);
        expect(replicated.get(expert)).toContain(slices.gpu[i]);
        reached.set(expert, slices.end[i]);
      }
      for (const expert of replicated.keys()) expect(reached.get(expert) ?? 0).toBe(loads[expert]);
    },
  );

  test.prop([countsArbitrary])('even: instances differ by at most one copy', (counts) => {
    const { slices } = split(counts, 'even');
    for (const [expert, holders] of replicated) {
      const shares = holders.map((gpu) => {
        let own = 0;
        for (let i = 0; i < slices.count; i++) {
          if (slices.expert[i] === expert && slices.gpu[i] === gpu) own += slices.end[i] - slices.start[i];
        }
        return own;
      });
      expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
    }
  });

  it('least-loaded: fills the emptiest GPUs to one level', () => {
    // Without expert 0 the GPUs have 10, 40, 0 and 20; its 50 copies raise GPUs 0 and 3 to 40 each.
    const counts = new Array<number>(32).fill(0);
    counts[0] = 50;
    counts[1] = 10;
    counts[3] = 40;
    counts[6] = 20;
    const { slices } = split(counts, 'least-loaded');
    const taken = Array.from({ length: slices.count }, (_, i) => [
      slices.gpu[i],
      slices.end[i] - slices.start[i],
    ]);
    expect(taken).toEqual([
      [0, 30],
      [3, 20],
    ]);
  });

  it('random: every instance gets its share on average', () => {
    const counts = new Array<number>(32).fill(0).map((_, i) => (i % 8 === 0 ? 30_000 : 0));
    const { slices } = split(counts, 'random');
    const share = [0, 0, 0, 0];
    for (let i = 0; i < slices.count; i++)
      share[slices.gpu[i]] += (slices.end[i] - slices.start[i]) / 120_000;
    [0, 1, 3].forEach((gpu) => expect(share[gpu]).toBeCloseTo(1 / 3, 2));
  });
});
