import { fc, test } from '@fast-check/vitest';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { capacityDrop, type CapacityRule } from '../../src/balancing/dispatch/capacity-drop.js';
import { contiguous, planLayer } from '../../src/balancing/index.js';
import { NO_EXPERT, type TokenTable } from '../../src/routing/index.js';

interface Vector {
  T: number;
  E: number;
  K: number;
  capacity_factor: number;
  drop_policy: 'probs' | 'position';
  pad_to_capacity: boolean;
  routing_probs: number[][];
  topk_ids: number[][];
  kept_per_expert: number[];
  dropped_total: number;
  rows_in_map_per_expert: number[];
  kept_map: number[][] | null;
}

const oracle = JSON.parse(readFileSync(new URL('../oracles/token-drop.json', import.meta.url), 'utf8')) as {
  vectors: Vector[];
};

describe('capacity dropping equals Megatron-LM @ d98e8a64, executed', () => {
  it.each(
    oracle.vectors.map(
      (v, i) => [`${i}: T${v.T} E${v.E} K${v.K} factor ${v.capacity_factor} ${v.drop_policy}`, v] as const,
    ),
  )('%s', (_, v) => {
    const plan = planLayer(
      {
        kind: 'capacity',
        factor: v.capacity_factor,
        order: v.drop_policy === 'probs' ? 'score' : 'position',
        pad: v.pad_to_capacity,
      },
      {
        gpus: 1,
        experts: v.E,
        tokens: {
          experts: v.topk_ids,
          weights: v.topk_ids.map((row, token) => row.map((expert) => v.routing_probs[token][expert])),
          sourceGpu: v.topk_ids.map(() => 0),
        },
      },
    );
    const kept = v.kept_per_expert.map((_, e) => plan.keptMap!.reduce((sum, row) => sum + row[e], 0));
    expect(kept).toEqual(v.kept_per_expert);
    expect(plan.dropped.flat().reduce((sum, copies) => sum + copies, 0)).toBe(v.dropped_total);
    expect(plan.sendMatrix!.flat().reduce((sum, rows) => sum + rows, 0)).toBe(
      v.rows_in_map_per_expert.reduce((sum, rows) => sum + rows, 0),
    );
    if (v.kept_map) expect(plan.keptMap).toEqual(v.kept_map);
  });
});

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

describe('capacity dropping by hand', () => {
  // k = 1, three experts, six tokens a–f on one GPU (replicate-quantize-and-capacity.md §2.2).
  const tokens = {
    experts: [[0], [0], [0], [1], [2], [0]],
    weights: [[0.5], [0.9], [0.6], [0.8], [0.7], [0.4]],
    sourceGpu: [0, 0, 0, 0, 0, 0],
  };
  it.each([
    ['position', ['a', 'b', 'd', 'e']],
    ['score', ['b', 'c', 'd', 'e']],
    ['batch-prioritised', ['b', 'c', 'd', 'e']],
  ] as const)('order %s keeps %o', (order, kept) => {
    const plan = planLayer({ kind: 'capacity', factor: 1, order }, { gpus: 1, experts: 3, tokens });
    expect([...'abcdef'].filter((_, token) => sum(plan.keptMap![token]) > 0)).toEqual(kept);
    expect(plan.dropped).toEqual([[2, 0, 0]]);
  });

  it('keeps first choices before second ones, then weaker tokens first where batch-prioritised', () => {
    // Two tokens want experts 0 then 1, one wants 1 then 0; each expert has room for ⌈6/2 · 0.5⌉ = 2.
    const two = {
      experts: [
        [0, 1],
        [0, 1],
        [1, 0],
      ],
      weights: [
        [0.6, 0.4],
        [0.9, 0.1],
        [0.7, 0.3],
      ],
      sourceGpu: [0, 0, 0],
    };
    const kept = (order: 'position' | 'batch-prioritised') =>
      planLayer({ kind: 'capacity', factor: 0.5, order }, { gpus: 1, experts: 2, tokens: two }).keptMap;
    expect(kept('position')).toEqual([
      [1, 1],
      [1, 0],
      [0, 1],
    ]);
    expect(kept('batch-prioritised')).toEqual([
      [1, 0],
      [1, 1],
      [0, 1],
    ]);
  });

  it('counts capacity per source GPU, per expert or per GPU', () => {
    // Two GPUs with two experts each; 8 copies, 6 of them for expert 0, 5 of those from GPU 0.
    const counts = [
      [5, 0, 1, 0],
      [1, 1, 0, 0],
    ];
    const dropped = (budget: 'expert-per-source-gpu' | 'expert' | 'gpu') =>
      planLayer({ kind: 'capacity', factor: 1, budget }, { gpus: 2, experts: 4, counts }).dropped;
    // Per source: ⌈6/4⌉ = 2 from GPU 0 and ⌈2/4⌉ = 1 from GPU 1.
    expect(dropped('expert-per-source-gpu')).toEqual([
      [3, 0, 0, 0],
      [0, 0, 0, 0],
    ]);
    // Per expert: ⌈8/4⌉ = 2, taken from GPU 0 first.
    expect(dropped('expert')).toEqual([
      [3, 0, 0, 0],
      [1, 0, 0, 0],
    ]);
    // Per GPU: ⌊8/2⌋ = 4 of GPU 0's 7, all from GPU 0 first.
    expect(dropped('gpu')).toEqual([
      [1, 0, 0, 0],
      [1, 1, 0, 0],
    ]);
  });

  it('rounds capacity up and fills it with empty rows', () => {
    const counts = [
      [5, 0],
      [1, 0],
    ];
    const plan = planLayer(
      { kind: 'capacity', factor: 1, pad: true, roundUpTo: 4 },
      { gpus: 2, experts: 2, counts },
    );
    // ⌈5/2⌉ = 3 and ⌈1/2⌉ = 1, both rounded up to 4: every source sends 4 rows to every expert.
    expect(plan.sendMatrix).toEqual([
      [4, 4],
      [4, 4],
    ]);
    expect(plan.dropped).toEqual([
      [1, 0],
      [0, 0],
    ]);
  });

  it('refuses what it cannot know', () => {
    expect(() =>
      planLayer({ kind: 'capacity', order: 'score' }, { gpus: 1, experts: 2, counts: [[1, 1]] }),
    ).toThrow('order: found score, but the routing has no gate weights');
    expect(() => planLayer('capacity', { gpus: 2, experts: 2, loads: [1, 1] })).toThrow('found loads only');
    expect(() =>
      planLayer({ kind: 'capacity', factor: null, pad: true }, { gpus: 1, experts: 2, counts: [[1, 1]] }),
    ).toThrow('pad: found true without a factor');
  });
});

describe('capacity dropping', () => {
  // Reference drop rates of replicate-quantize-and-capacity.md §2.3: 8 GPUs, 128 experts, share p on k hot ones.
  it.each([
    [0.3, 16, 1, 17.5, 17.5],
    [0.3, 4, 1.25, 26.1, 21.1],
    [0.5, 4, 2, 43.8, 29.8],
    [0.8, 1, 1, 79.2, 69.9],
    [0.95, 1, 1.25, 94, 80],
    [0.95, 16, 2, 70, 70],
  ])(
    '%d on %i experts at factor %d drops %d %% per expert and %d %% per GPU',
    (share, hot, factor, perExpert, perGpu) => {
      const copies = 1_024_000;
      const counts = Array.from({ length: 8 }, () =>
        Array.from({ length: 128 }, (_, e) =>
          Math.round((copies / 8) * (e < hot ? share / hot : (1 - share) / (128 - hot))),
        ),
      );
      const rate = (budget: 'expert' | 'expert-per-source-gpu' | 'gpu') =>
        (100 *
          sum(
            planLayer({ kind: 'capacity', factor, budget }, { gpus: 8, experts: 128, counts }).dropped.flat(),
          )) /
        sum(counts.flat());
      expect(rate('expert')).toBeCloseTo(perExpert, 0);
      expect(rate('expert-per-source-gpu')).toBeCloseTo(perExpert, 0);
      expect(rate('gpu')).toBeCloseTo(perGpu, 0);
    },
  );

  const tokensArbitrary = fc
    .tuple(fc.constantFrom([1, 4], [2, 4], [4, 8]), fc.integer({ min: 1, max: 3 }))
    .chain(([[gpus, experts], topK]) =>
      fc.record({
        gpus: fc.constant(gpus),
        experts: fc.constant(experts),
        tokens: fc.array(
          fc.record({
            experts: fc.uniqueArray(fc.nat(experts - 1), { minLength: topK, maxLength: topK }),
            weights: fc.array(fc.double({ min: 0.01, max: 1, noNaN: true }), {
              minLength: topK,
              maxLength: topK,
            }),
            source: fc.nat(gpus - 1),
          }),
          { minLength: 1, maxLength: 60 },
        ),
      }),
    );

  test.prop(
    [
      tokensArbitrary,
      fc.constantFrom(0.3, 0.5, 1, 1.25, 2),
      fc.constantFrom('expert-per-source-gpu' as const, 'expert' as const, 'gpu' as const),
      fc.constantFrom('position' as const, 'score' as const, 'batch-prioritised' as const, 'random' as const),
    ],
    { numRuns: 1000 },
  )(
    'the order decides which copies go, never how many per group',
    ({ gpus, experts, tokens }, factor, budget, order) => {
      const bySource = [...tokens].sort((a, b) => a.source - b.source);
      const table = {
        experts: bySource.map((token) => token.experts),
        weights: bySource.map((token) => token.weights),
        sourceGpu: bySource.map((token) => token.source),
      };
      const counts = Array.from({ length: gpus }, () => new Array<number>(experts).fill(0));
      bySource.forEach(({ experts: picks, source }) => picks.forEach((e) => counts[source][e]++));
      const plan = planLayer({ kind: 'capacity', factor, budget, order }, { gpus, experts, tokens: table });
      const kept = counts.map((row, source) => row.map((count, e) => count - plan.dropped[source][e]));
      const total = sum(counts.flat());
      const group = (cells: number[][], pick: (source: number, e: number) => boolean) =>
        sum(cells.flatMap((row, source) => row.filter((_, e) => pick(source, e))));
      const check = (limit: number, pick: (source: number, e: number) => boolean) =>
        expect(group(kept, pick)).toBe(Math.min(limit, group(counts, pick)));
      for (let e = 0; e < experts; e++) {
        if (budget === 'expert') check(Math.ceil((total / experts) * factor), (_, other) => other === e);
        for (let source = 0; source < gpus; source++) {
          expect(kept[source][e]).toBeGreaterThanOrEqual(0);
          if (budget === 'expert-per-source-gpu') {
            check(
              Math.ceil((sum(counts[source]) / experts) * factor),
              (s, other) => s === source && other === e,
            );
          }
        }
      }
      if (budget === 'gpu') {
        for (let gpu = 0; gpu < gpus; gpu++) {
          check(Math.floor((total / gpus) * factor), (_, e) => Math.floor((e * gpus) / experts) === gpu);
        }
      }
      // What is kept with tokens agrees with what is kept by counts alone, group by group.
      if (order === 'position' || order === 'random') {
        const byCounts = planLayer({ kind: 'capacity', factor, budget, order }, { gpus, experts, counts });
        expect(sum(byCounts.dropped.flat())).toBe(sum(plan.dropped.flat()));
      }
      expect(plan.keptMap!.map((row) => sum(row)).reduce((a, b) => a + b, 0)).toBe(sum(kept.flat()));
    },
  );

  it.each(['position', 'random'] as const)('of 512 GPUs and 512 experts, by %s', (order) => {
    const [gpus, experts] = [512, 512];
    const counts = new Int32Array(gpus * experts);
    // Every GPU has three tokens for its first expert, and room for one of each: ⌈3/512⌉.
    for (let gpu = 0; gpu < gpus; gpu++) counts[gpu * experts + gpu] = 3;
    const tokens: TokenTable = {
      count: 3 * gpus,
      topK: 1,
      experts: Uint16Array.from({ length: 3 * gpus }, (_, token) => Math.floor(token / 3)),
      source: Uint16Array.from({ length: 3 * gpus }, (_, token) => Math.floor(token / 3)),
      weights: null,
    };
    const rule = { factor: 1, budget: 'expert-per-source-gpu', order, pad: false, roundUpTo: 1 } as const;
    const placement = contiguous(gpus, experts, 16);
    const { kept } = capacityDrop(rule, { placement, counts, tokensBySource: null, tokens, seed: '' });
    expect(kept).toEqual(counts.map((count) => Math.min(1, count)));
  });

  test.prop(
    [
      tokensArbitrary,
      fc.array(fc.constantFrom(0.3, 0.5, 1, 1.25, 2), { minLength: 1, maxLength: 4 }),
      fc.constantFrom('expert-per-source-gpu' as const, 'expert' as const, 'gpu' as const),
      fc.array(fc.boolean(), { minLength: 180, maxLength: 180 }),
      fc.constantFrom(true as const, undefined),
    ],
    { numRuns: 500 },
  )(
    'by position is to claim one by one, also from a table that lasts and was partly pruned',
    ({ gpus, experts, tokens }, factors, budget, prunes, lasting) => {
      const topK = tokens[0].experts.length;
      const picks = tokens.flatMap((token) => token.experts).map((e, copy) => (prunes[copy] ? NO_EXPERT : e));
      const table: TokenTable = {
        count: tokens.length,
        topK,
        experts: Uint16Array.from(picks),
        source: Uint16Array.from(tokens, ({ source }) => source),
        weights: Float32Array.from(tokens.flatMap(({ weights }) => weights)),
        lasting,
      };
      const cellOf = (copy: number) => tokens[Math.floor(copy / topK)].source * experts + picks[copy];
      const counts = new Int32Array(gpus * experts);
      picks.forEach((e, copy) => e !== NO_EXPERT && counts[cellOf(copy)]++);
      const placement = contiguous(gpus, experts, 16);
      for (const factor of factors) {
        const rule: CapacityRule = { factor, budget, order: 'position', pad: false, roundUpTo: 1 };
        const drop = capacityDrop(rule, { placement, counts, tokensBySource: null, tokens: table, seed: '' });

        const copiesOf = (source: number) =>
          sum([...counts.subarray(source * experts, (source + 1) * experts)]);
        const total = sum([...counts]);
        const limit = {
          'expert-per-source-gpu': (source: number) => Math.ceil((copiesOf(source) / experts) * factor),
          expert: () => Math.ceil((total / experts) * factor),
          gpu: () => Math.floor((total / gpus) * factor),
        }[budget];
        const claimed = new Map<string, number>();
        const kept = picks.map(() => 0);
        for (let choice = 0; choice < topK; choice++) {
          tokens.forEach(({ source }, token) => {
            const e = picks[token * topK + choice];
            if (e === NO_EXPERT) return;
            const group = {
              'expert-per-source-gpu': `${source}/${e}`,
              expert: `${e}`,
              gpu: `${placement.home[e]}`,
            };
            const before = claimed.get(group[budget]) ?? 0;
            if (before >= limit(source)) return;
            claimed.set(group[budget], before + 1);
            kept[token * topK + choice] = 1;
          });
        }
        expect([...drop.keptCopies!]).toEqual(kept);
        const keptCounts = new Int32Array(gpus * experts);
        kept.forEach((is, copy) => is && keptCounts[cellOf(copy)]++);
        expect(drop.kept).toEqual(keptCounts);
        const ofToken = (values: readonly number[], token: number) =>
          sum(values.slice(token * topK, (token + 1) * topK));
        const routed = picks.map((e) => Number(e !== NO_EXPERT));
        expect(drop.tokensLost).toBe(
          tokens.filter((_, token) => ofToken(kept, token) === 0 && ofToken(routed, token) > 0).length,
        );
        const weights = [...table.weights!];
        const share = sum(weights.map((weight, copy) => weight * kept[copy])) / sum(weights);
        expect(drop.keptGateMass).toBeCloseTo(share, 12);
      }
    },
  );
});
