import { fc, test } from '@fast-check/vitest';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { LayerLoads, LayerWork, planLayer } from '../../src/balancing/index.js';
import { BalancedFlow } from '../../src/balancing/dispatch/balanced-flow.js';
import { dispatchRules, type DispatchOptions } from '../../src/balancing/dispatch/index.js';
import type { DispatchRule } from '../../src/balancing/dispatch/rule.js';
import { placementOf, placementOfSlots, type Placement } from '../../src/balancing/placement.js';
import { homePlan, SlotCopies } from '../../src/balancing/plan.js';
import type { LayerView, PolicySetting } from '../../src/balancing/policy.js';
import type { TokenTable } from '../../src/routing/index.js';

interface Vector {
  name: string;
  num_logical: number;
  num_gpus: number;
  weight: number[][];
  phy2log: number[][];
  /** Null where nothing is loaded. */
  lp_dispatch: ({
    placement_load_equal_split_max: number;
    placement_load_lp_max: number;
    drift_weight: number[];
    drift_equal_split_max: number;
    drift_lp_max: number;
  } | null)[];
}

const { vectors } = JSON.parse(readFileSync(new URL('../oracles/eplb.json', import.meta.url), 'utf8')) as {
  vectors: Vector[];
};

const sum = (values: ArrayLike<number>) => Array.from(values).reduce((total, value) => total + value, 0);

/** What a rule gives every slot: [source][slot]. */
function divide(
  kind: DispatchOptions['kind'],
  placement: Placement,
  counts: readonly (readonly number[])[],
  { gpusPerNode = placement.gpus, tokens = null as TokenTable | null } = {},
): number[][] {
  const rule = dispatchRules.find((candidate) => candidate.kind === kind)! as unknown as DispatchRule;
  const { gpus, experts } = placement;
  const setting = { gpus, gpusPerNode, experts } as PolicySetting;
  const flat = Int32Array.from(counts.flat());
  const loads = Float64Array.from({ length: experts }, (_, e) => sum(counts.map((row) => row[e])));
  const view: LayerView = {
    step: 0,
    layer: 0,
    counts: flat,
    loads,
    tokensBySource: null,
    tokens,
    seed: 1,
  };
  const slots = placement.slotExpert.length;
  const into = new SlotCopies(gpus).reset(slots);
  rule.start({ kind }, setting).divide(placement, view, into);
  return counts.map((_, source) => Array.from(into.copies.subarray(source * slots, (source + 1) * slots)));
}

const slotLoads = (copies: readonly (readonly number[])[]) =>
  copies[0].map((_, slot) => sum(copies.map((row) => row[slot])));

const gpuLoads = (placement: Placement, copies: readonly (readonly number[])[]) => {
  const loads = new Array<number>(placement.gpus).fill(0);
  slotLoads(copies).forEach((load, slot) => (loads[placement.slotGpu[slot]] += load));
  return loads;
};

describe('rules by hand: GPUs (0 1) (0 2) (3 0) (1 3), nodes of two', () => {
  const placement = placementOf(
    [
      [0, 1],
      [0, 2],
      [3, 0],
      [1, 3],
    ],
    4,
    16,
  );
  // Slots: 0:e0 1:e1 2:e0 3:e2 4:e3 5:e0 6:e1 7:e3
  const counts = [
    [7, 0, 1, 0],
    [2, 3, 0, 0],
    [0, 0, 0, 4],
    [5, 1, 0, 0],
  ];

  it.each<[DispatchOptions['kind'], number[][]]>([
    [
      'home',
      [
        [7, 0, 0, 1, 0, 0, 0, 0],
        [2, 3, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 4, 0, 0, 0],
        [5, 1, 0, 0, 0, 0, 0, 0],
      ],
    ],
    [
      // Expert 0: 7 = 3 2 2, then one turn on: 2 = 0 1 1, then back at the start: 5 = 2 2 1.
      'even',
      [
        [3, 0, 2, 1, 0, 2, 0, 0],
        [0, 2, 1, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 2, 0, 0, 2],
        [2, 0, 2, 0, 0, 1, 1, 0],
      ],
    ],
    [
      // Source s begins at instance s mod count.
      'round-robin',
      [
        [3, 0, 2, 1, 0, 2, 0, 0],
        [0, 1, 1, 0, 0, 1, 2, 0],
        [0, 0, 0, 0, 2, 0, 0, 2],
        [2, 0, 2, 0, 0, 1, 1, 0],
      ],
    ],
    [
      'nearest',
      [
        [7, 0, 0, 1, 0, 0, 0, 0],
        [0, 3, 2, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 4, 0, 0, 0],
        [0, 0, 0, 0, 0, 5, 1, 0],
      ],
    ],
  ])('%s', (kind, expected) => {
    expect(divide(kind, placement, counts, { gpusPerNode: 2 })).toEqual(expected);
  });

  it('lp: nothing but expert 2 is tied to a GPU, so all GPUs get the mean', () => {
    const copies = divide('lp', placement, counts, { gpusPerNode: 2 });
    expect(Math.max(...gpuLoads(placement, copies))).toBe(Math.ceil(23 / 4));
  });

  it('fewest-active: four active experts on four GPUs, one each', () => {
    const copies = divide('fewest-active', placement, counts);
    const active = new Array<number>(4).fill(0);
    slotLoads(copies).forEach((load, slot) => (active[placement.slotGpu[slot]] += load > 0 ? 1 : 0));
    expect(active).toEqual([1, 1, 1, 1]);
  });
});

describe('rules that look at tokens', () => {
  // Expert 0 is everyone's first choice of two; it has two instances, on GPUs 0 and 1.
  const placement = placementOf(
    [
      [0, 1],
      [0, 2],
    ],
    3,
    16,
  );
  const tokens: TokenTable = {
    count: 8,
    topK: 2,
    experts: Uint16Array.from([0, 1, 0, 2, 0, 1, 0, 2, 0, 1, 0, 2, 0, 1, 0, 2]),
    source: Uint16Array.from([0, 0, 0, 0, 1, 1, 1, 1]),
    weights: null,
  };
  const counts = [
    [4, 2, 2],
    [4, 2, 2],
  ];

  it('flat-position sends an expert that is always first to one instance: its artefact', () => {
    expect(slotLoads(divide('flat-position', placement, counts, { tokens }))).toEqual([8, 4, 0, 4]);
  });

  it('token-hash spreads the same tokens', () => {
    expect(slotLoads(divide('token-hash', placement, counts, { tokens }))).toEqual([4, 4, 4, 4]);
  });

  it('token-hash equals the token number modulo 2, 4 and 8 instances, not modulo 3', () => {
    const hash = (token: number, instances: number) => (Math.imul(token, 2654435769) >>> 0) % instances;
    for (const instances of [2, 4, 8]) {
      for (let token = 0; token < 100; token++) expect(hash(token, instances)).toBe(token % instances);
    }
    expect([0, 1, 2, 3].map((token) => hash(token, 3))).not.toEqual([0, 1, 2, 0]);
  });
});

describe('the linear program, against SciPy HiGHS (eplb.json, lp_dispatch)', () => {
  const solved = vectors.filter(({ lp_dispatch }) => lp_dispatch.every((expected) => expected !== null));
  it.each(solved.map((vector) => [vector.name, vector] as const))('%s', (_, vector) => {
    const { num_gpus: gpus, num_logical: experts } = vector;
    vector.weight.forEach((weight, layer) => {
      const placement = placementOfSlots(vector.phy2log[layer], gpus, experts, 16);
      const flow = new BalancedFlow(placement);
      const expected = vector.lp_dispatch[layer]!;
      const cases = [
        [weight, expected.placement_load_lp_max, expected.placement_load_equal_split_max],
        [expected.drift_weight, expected.drift_lp_max, expected.drift_equal_split_max],
      ] as const;
      for (const [loads, best, equal] of cases) {
        const close = (value: number, wanted: number) =>
          expect(Math.abs(value - wanted)).toBeLessThanOrEqual(1e-6 * wanted + 1e-6);
        const level = flow.fill(loads, false).balance(false);
        close(level, best);
        close(Math.max(...flow.gpuLoads), best);
        // In whole copies: the next whole number.
        expect(flow.fill(loads, true).balance(true)).toBe(Math.ceil(level - 1e-6));
        expect(Math.max(...flow.gpuLoads)).toBeLessThanOrEqual(Math.ceil(level - 1e-6));
        const even = new Array<number>(gpus).fill(0);
        placement.slotExpert.forEach((expert, slot) => {
          const instances = placement.firstInstance[expert + 1] - placement.firstInstance[expert];
          even[placement.slotGpu[slot]] += loads[expert] / instances;
        });
        close(Math.max(...even), equal);
      }
    });
  });
});

/** Any multiset of experts over slots, GPUs with different numbers of them, and counts. */
const casesArbitrary = fc
  .record({
    slots: fc
      .array(fc.array(fc.nat(5), { minLength: 1, maxLength: 4 }), { minLength: 2, maxLength: 4 })
      .map((slots) => slots.map((own, gpu) => (gpu === 0 ? [0, 1, 2, 3, 4, 5, ...own] : own))),
    counts: fc.array(fc.array(fc.oneof(fc.constant(0), fc.nat(60)), { minLength: 6, maxLength: 6 }), {
      minLength: 4,
      maxLength: 4,
    }),
  })
  .map(({ slots, counts }) => ({
    placement: placementOf(slots, 6, 16),
    counts: counts.slice(0, slots.length),
  }));

describe('rules on any placement', () => {
  test.prop([casesArbitrary])(
    'lp is never above any other rule, least-loaded only above lp',
    ({ placement, counts }) => {
      const most = (kind: DispatchOptions['kind']) =>
        Math.max(...gpuLoads(placement, divide(kind, placement, counts)));
      const best = most('lp');
      for (const kind of [
        'home',
        'even',
        'random',
        'round-robin',
        'nearest',
        'least-loaded',
        'fewest-active',
      ] as const)
        expect(most(kind)).toBeGreaterThanOrEqual(best);
    },
  );

  test.prop([casesArbitrary])(
    'fewest-active: no choice of one instance each has fewer on its fullest GPU',
    ({ placement, counts }) => {
      const { gpus, firstInstance, instance, slotGpu } = placement;
      const active = Array.from({ length: 6 }, (_, e) => e).filter(
        (e) => sum(counts.map((row) => row[e])) > 0,
      );
      const copies = divide('fewest-active', placement, counts);
      const perGpu = new Array<number>(gpus).fill(0);
      slotLoads(copies).forEach((load, slot) => (perGpu[slotGpu[slot]] += load > 0 ? 1 : 0));
      expect(sum(perGpu)).toBe(active.length);
      // Every way to choose, by exhaustion.
      const fewest = (left: readonly number[], filled: readonly number[]): number => {
        if (left.length === 0) return Math.max(...filled);
        const [e, ...rest] = left;
        const holders = new Set(
          Array.from(instance.subarray(firstInstance[e], firstInstance[e + 1]), (s) => slotGpu[s]),
        );
        return Math.min(
          ...[...holders].map((gpu) =>
            fewest(
              rest,
              filled.map((n, g) => (g === gpu ? n + 1 : n)),
            ),
          ),
        );
      };
      expect(Math.max(...perGpu)).toBe(fewest(active, new Array<number>(gpus).fill(0)));
    },
  );

  it('random: every instance gets its share on average; lp-sampled follows the program', () => {
    // Expert 0 on three GPUs; expert 1 fills GPU 0, so that the program gives it nothing more.
    const placement = placementOf([[0, 1], [0], [0]], 2, 16);
    const counts = [
      [20_000, 30_000],
      [20_000, 30_000],
      [20_000, 0],
    ];
    const random = slotLoads(divide('random', placement, counts));
    [0, 2, 3].forEach((slot) => expect(random[slot] / 60_000).toBeCloseTo(1 / 3, 2));
    const sampled = slotLoads(divide('lp-sampled', placement, counts));
    expect(sampled[0]).toBe(0);
    [2, 3].forEach((slot) => expect(sampled[slot] / 60_000).toBeCloseTo(1 / 2, 2));
  });

  it('two slots of an expert on one GPU are two instances with rows of their own', () => {
    const placement = placementOf([[0, 0], [1]], 2, 16);
    const counts = [
      [10, 3],
      [0, 4],
    ];
    const slotCopies = new SlotCopies(2).reset(3);
    divide('even', placement, counts).forEach((row, source) => slotCopies.copies.set(row, source * 3));
    const base = new LayerLoads(2, 2, placement.home).count(Int32Array.from(counts.flat()));
    const work = new LayerWork(2, 2, 8, 16).expand({ ...homePlan(placement), slotCopies }, base);
    expect([...work.copies]).toEqual([10, 7]);
    expect([...work.activeExperts.subarray(0, 2)]).toEqual([2, 1]);
    // 5 + 5 rows, each rounded up to 8.
    expect([...work.roundedRows.subarray(0, 2)]).toEqual([16, 8]);
    expect([...work.send]).toEqual([10, 3, 0, 4]);
  });
});

describe('planning a layer with replicas', () => {
  it('shows who computes which copies: a hot expert in five slots, two of them on one GPU', () => {
    // Five instances of 18, three experts of 10: GPUs get 18 + 18, then 18 + 10 three times.
    const counts = [[90, 10, 10, 10], ...Array.from({ length: 3 }, () => [0, 0, 0, 0])];
    const plan = planLayer({ kind: 'eplb' }, { gpus: 4, experts: 4, counts });
    expect(plan.gpuLoads).toEqual([36, 28, 28, 28]);
    const [, ranges] = plan.slices.find(([expert]) => expert === 0)!;
    const byGpu = [0, 1, 2, 3].map((gpu) =>
      sum(ranges.filter(([g]) => g === gpu).map(([, start, end]) => end - start)),
    );
    expect(byGpu).toEqual([36, 18, 18, 18]);
    expect(plan.sendMatrix![0]).toEqual(plan.gpuLoads);
  });

  it.each([
    [
      { kind: 'eplb', placement: { kind: 'eplb', slots: 9 } },
      'eplb.placement.slots: found 9 on 2 GPUs, allowed: a multiple of 2 (slots: 10)',
    ],
    [
      { kind: 'eplb', placement: { kind: 'eplb', slots: 6 } },
      'eplb.placement.slots: found 6 for 8 experts, allowed: at least 8',
    ],
    [
      { kind: 'eplb', placement: { kind: 'eplb', groups: 3 } },
      'eplb.placement.groups: found 3 for 8 experts',
    ],
    [
      { kind: 'combination', dispatch: 'token-hash' },
      'combination.dispatch: found token-hash, but the routing holds counts without tokens, allowed: round-robin',
    ],
  ] as const)('refuses %o with the reason', (policy, message) => {
    expect(() => planLayer(policy, { gpus: 2, experts: 8, loads: [8, 7, 6, 5, 4, 3, 2, 1] })).toThrow(
      message,
    );
  });
});
