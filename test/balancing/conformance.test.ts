/** What every policy must keep, whatever it does. A policy joins by being in `policies`. */
import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { LayerLoads, LayerWork, policies, policyOf, type PolicyOptions } from '../../src/balancing/index.js';
import { dispatchRules } from '../../src/balancing/dispatch/index.js';
import type { LayerView, PolicySetting } from '../../src/balancing/policy.js';
import { CandidateTable, type TokenTable } from '../../src/routing/index.js';
import { policySetting } from './policy-setting.js';

const TOP_K = 2;

/** Options worth trying, by policy; every policy is tried with its defaults too. */
const variants: Record<PolicyOptions['kind'], object[]> = {
  ep: [],
  balanced: [],
  'round-robin': [{ placement: { kind: 'round-robin', slots: 21 }, dispatch: 'even' }],
  eplb: [
    { placement: { kind: 'eplb', groups: 2 } },
    { placement: { kind: 'eplb', avoidDuplicates: true }, dispatch: 'home' },
    { placement: { kind: 'eplb', reorderOnly: true } },
    { placement: { kind: 'eplb', slots: 32 } },
    { history: { kind: 'window', interval: 1, steps: 2 } },
    { history: { kind: 'window', interval: 2, staleness: 1, skipAbove: 0.9 }, movement: 'chunked' },
    { history: { kind: 'decay', interval: 2, first: 1 }, movement: { kind: 'async', from: 'host' } },
    { history: { kind: 'decay', interval: 1 }, movement: { kind: 'blocking', alignSlots: false } },
    { history: 'oracle', dispatch: 'lp' },
    { placement: 'eplb-steps', history: { kind: 'window', interval: 1, steps: 2 } },
    { placement: 'tensorrt-llm', history: { kind: 'decay', interval: 1 }, dispatch: 'round-robin' },
    { placement: 'ascend-default', history: { kind: 'window', interval: 1 } },
    { placement: 'ascend-swift', history: { kind: 'window', interval: 1 } },
    { placement: 'flashlb', history: { kind: 'window', interval: 1, steps: 3 } },
    { placement: 'balance-bytes', history: { kind: 'window', interval: 1 } },
  ],
  combination: [
    ...dispatchRules.map(({ kind }) => ({ placement: 'eplb', dispatch: kind })),
    ...dispatchRules.map(({ kind }) => ({ placement: { kind: 'contiguous', slots: 19 }, dispatch: kind })),
  ],
  vllm: [
    { slots: 24 },
    { history: { kind: 'window', interval: 2, steps: 2 }, movement: 'blocking', slots: 24 },
  ],
  sglang: [{ slots: 24, history: { kind: 'window', interval: 2, steps: 2 } }],
  'tensorrt-llm': [{ slots: 32 }],
  megatron: [],
  'vllm-ascend': [{ history: { kind: 'window', interval: 2 }, movement: 'blocking' }],
  llep: [
    { imbalanceThreshold: 0, minTokensPerGemm: 1 },
    { imbalanceThreshold: 0, minTokensPerGemm: 4, alpha: 1.2 },
    { imbalanceThreshold: 0, minTokensPerGemm: 1, variant: 'paper' },
    { imbalanceThreshold: 1.5, gate: 'expert', helpers: 'intra-node', minTokensPerGemm: 2 },
  ],
  ultraep: [
    { minTokensPerReplica: 1 },
    { minTokensPerReplica: 4, spareSlots: 1, keepOne: false, threshold: 1.2 },
  ],
  harmoeny: [{ minTokens: 1 }, { minTokens: 5 }],
  feplb: [{ dynamicExperts: 1 }, { dynamicExperts: 4 }],
  moonep: [{ spareSlots: 1 }, { spareSlots: 2 }],
  probe: [
    { history: { kind: 'predicted', error: 0.5 }, dispatch: 'lp' },
    { placement: { kind: 'spare-replicas', spareSlots: 1, arrivals: 1 }, movement: 'blocking' },
    { placement: 'eplb', history: 'oracle' },
  ],
  'fastermoe-shadow': [{ breakEvenTokens: 1 }, { breakEvenTokens: 0.5 }],
  'replicate-quantize': [
    { replicas: 2, split: 'even' },
    { replicas: 2, split: 'least-loaded', replanEvery: 2 },
    { replicas: 1, bits: 4, donors: 'per-gpu' },
  ],
  laser: [
    { candidates: 4, peaked: 0 },
    { candidates: 4, peaked: 2, cutoff: 0 },
    { candidates: 3, cutoff: 0.5, loads: 'gpu', staleness: 3, memory: 'run' },
  ],
  capacity: [
    { factor: 0.5, budget: 'expert' },
    { factor: 1, budget: 'gpu', order: 'random' },
    { factor: 1, order: 'score', pad: true },
    { factor: 0.75, order: 'batch-prioritised' },
    { factor: null },
  ],
};

const cases = policies.flatMap(({ kind }) =>
  [{}, ...variants[kind as PolicyOptions['kind']]].map((change) => {
    const options = policies.find((policy) => policy.kind === kind)!.options.parse({ kind, ...change });
    return [`${kind} ${JSON.stringify(change)}`, options] as const;
  }),
);

interface Batch {
  gpus: number;
  experts: number;
  steps: { source: number; picks: number[]; weights: number[] }[][];
}

const batchArbitrary: fc.Arbitrary<Batch> = fc
  .constantFrom([2, 4], [4, 8], [4, 16], [3, 8], [6, 4])
  .chain(([gpus, experts]) =>
    fc.record({
      gpus: fc.constant(gpus),
      experts: fc.constant(experts),
      steps: fc.array(
        fc.array(
          fc.record({
            source: fc.nat(gpus - 1),
            picks: fc.oneof(
              fc.uniqueArray(fc.nat(experts - 1), { minLength: TOP_K, maxLength: TOP_K }),
              fc.constant<number[]>([0, 1]),
            ),
            weights: fc.array(fc.double({ min: 0.01, max: 1, noNaN: true }), {
              minLength: TOP_K,
              maxLength: TOP_K,
            }),
          }),
          { minLength: 1, maxLength: 50 },
        ),
        { minLength: 1, maxLength: 4 },
      ),
    }),
  );

function settingOf({ gpus, experts }: Batch): PolicySetting {
  return policySetting(gpus, experts, {
    gpusPerNode: gpus % 2 === 0 ? 2 : gpus,
    hasTokens: true,
    hasGateWeights: true,
    candidates: experts,
    topK: TOP_K,
    calibration: () => [Float64Array.from({ length: experts }, (_, e) => (e * 5) % experts)],
  });
}

function viewsOf({ gpus, experts, steps }: Batch): LayerView[] {
  return steps.map((step, index) => {
    const tokens = [...step].sort((a, b) => a.source - b.source);
    const counts = new Int32Array(gpus * experts);
    tokens.forEach(({ source, picks }) => picks.forEach((e) => counts[source * experts + e]++));
    const table: TokenTable = {
      count: tokens.length,
      topK: TOP_K,
      experts: Uint16Array.from(tokens.flatMap(({ picks }) => picks)),
      source: Uint16Array.from(tokens, ({ source }) => source),
      weights: Float32Array.from(tokens.flatMap(({ weights }) => weights)),
    };
    table.candidates = new CandidateTable(tokens.length, experts);
    tokens.forEach(({ picks, weights }, token) => {
      const scores = Array.from({ length: experts }, (_, e) => 0.01 / (1 + e));
      picks.forEach((e, choice) => (scores[e] = weights[choice]));
      table.candidates!.rank(token, scores);
    });
    const tokensBySource = new Int32Array(gpus);
    tokens.forEach(({ source }) => tokensBySource[source]++);
    const loads = Float64Array.from({ length: experts }, (_, e) =>
      counts.reduce((sum, copies, i) => sum + (i % experts === e ? copies : 0), 0),
    );
    return { step: index, layer: 0, counts, loads, tokensBySource, tokens: table, seed: 'seed' };
  });
}

/** Plans of all steps, copied, since a policy may reuse its own. */
function plansOf(options: PolicyOptions, batch: Batch) {
  const policy = policyOf(options);
  const setting = settingOf(batch);
  let state = policy.start(options, setting);
  return viewsOf(batch).map((view) => {
    const decided = policy.decide(state, view);
    state = decided.state;
    return structuredClone(decided.plan);
  });
}

const accepted = (options: PolicyOptions, batch: Batch) =>
  policyOf(options).refusal(options, settingOf(batch)) === null;

describe.each(cases)('conformance: %s', (_, options) => {
  const policy = policyOf(options);

  test.prop([batchArbitrary])('invariant 1: every routed copy is computed once or dropped', (batch) => {
    fc.pre(accepted(options, batch));
    const { gpus, experts } = batch;
    const plans = plansOf(options, batch);
    viewsOf(batch).forEach(({ counts }, i) => {
      const plan = plans[i];
      const base = new LayerLoads(gpus, experts, plan.placement.home).count(counts);
      const work = new LayerWork(gpus, experts, 1, 16).expand(plan, base);
      const sum = (values: ArrayLike<number>) => Array.from(values).reduce((a, b) => a + b, 0);
      expect(sum(work.copies)).toBeCloseTo(work.kept, 9);
      const dropped = plan.drop ? sum(counts) - sum(plan.drop.kept) : 0;
      expect(work.kept + dropped).toBe(sum(counts));
      plan.drop?.kept.forEach((kept, cell) => {
        expect(kept).toBeGreaterThanOrEqual(0);
        expect(kept).toBeLessThanOrEqual(counts[cell]);
      });
      if (!plan.drop?.sent) {
        expect(sum(work.send)).toBeCloseTo(work.kept, 9);
        for (let gpu = 0; gpu < gpus; gpu++) {
          const arriving = Array.from({ length: gpus }, (__, source) => work.send[source * gpus + gpu]);
          expect(sum(arriving)).toBeCloseTo(work.copies[gpu], 9);
        }
      }
      expect(work.send.every((copies) => copies >= 0)).toBe(true);
    });
  });

  test.prop([batchArbitrary])('what is rewritten keeps the copies of every source', (batch) => {
    fc.pre(accepted(options, batch));
    const { experts } = batch;
    const plans = plansOf(options, batch);
    viewsOf(batch).forEach(({ counts }, i) => {
      const { rewrite } = plans[i];
      if (!rewrite) return;
      expect(policy.exact(options) ? rewrite.copies : 0).toBe(0);
      for (let row = 0; row < counts.length; row += experts) {
        const sum = (of: Int32Array) => of.subarray(row, row + experts).reduce((a, b) => a + b, 0);
        expect(sum(rewrite.counts)).toBe(sum(counts));
      }
    });
  });

  test.prop([batchArbitrary])('slots get exactly the copies of their experts, source by source', (batch) => {
    fc.pre(accepted(options, batch));
    const { gpus, experts } = batch;
    const plans = plansOf(options, batch);
    viewsOf(batch).forEach(({ counts }, i) => {
      const { slotCopies, placement, slices } = plans[i];
      if (slotCopies === null) return;
      expect(slices).toBeNull();
      const { slots, copies } = slotCopies;
      expect(slots).toBe(placement.slotExpert.length);
      const given = new Int32Array(gpus * experts);
      for (let source = 0; source < gpus; source++) {
        for (let slot = 0; slot < slots; slot++) {
          given[source * experts + placement.slotExpert[slot]] += copies[source * slots + slot];
        }
      }
      expect(copies.every((copied) => copied >= 0)).toBe(true);
      expect(given).toEqual(counts);
    });
  });

  test.prop([batchArbitrary])('slices of an expert touch, start at 0 and end at its load', (batch) => {
    fc.pre(accepted(options, batch));
    const plans = plansOf(options, batch);
    viewsOf(batch).forEach(({ loads }, i) => {
      const { slices } = plans[i];
      if (slices === null) return;
      for (let at = 0; at < slices.count;) {
        const expert = slices.expert[at];
        let position = 0;
        for (; at < slices.count && slices.expert[at] === expert; at++) {
          expect(slices.start[at]).toBe(position);
          expect(slices.end[at]).toBeGreaterThan(position);
          position = slices.end[at];
        }
        expect(position).toBe(loads[expert]);
      }
    });
  });

  test.prop([batchArbitrary])('weights travel exactly for the slices computed without a slot', (batch) => {
    fc.pre(accepted(options, batch));
    for (const { slices, transfers, placement } of plansOf(options, batch)) {
      if (!policy.movesWeights(options)) expect(transfers).toBeNull();
      const holds = (gpu: number, expert: number) =>
        placement.slotExpert
          .subarray(placement.firstSlot[gpu], placement.firstSlot[gpu + 1])
          .includes(expert);
      const needed = new Set<string>();
      for (let i = 0; i < (slices?.count ?? 0); i++) {
        if (!holds(slices!.gpu[i], slices!.expert[i])) needed.add(`${slices!.expert[i]}→${slices!.gpu[i]}`);
      }
      const sent = new Set<string>();
      for (let i = 0; i < (transfers?.count ?? 0); i++) {
        sent.add(`${transfers!.expert[i]}→${transfers!.destination[i]}`);
        expect(holds(transfers!.source[i], transfers!.expert[i])).toBe(true);
      }
      expect(sent).toEqual(needed);
    }
  });

  const onlyExact = policy.exact(options) ? test : null;
  onlyExact?.prop([batchArbitrary])(
    'invariant 6: an exact policy drops nothing and lowers no precision',
    (batch) => {
      fc.pre(accepted(options, batch));
      for (const { drop, placement } of plansOf(options, batch)) {
        expect(drop).toBeNull();
        expect(new Set(placement.slotBits)).toEqual(new Set([16]));
      }
    },
  );

  test.prop([batchArbitrary])('invariant 5: decides the same again', (batch) => {
    fc.pre(accepted(options, batch));
    expect(plansOf(options, batch)).toEqual(plansOf(options, batch));
  });

  const onlyAhead = policy.sees(options) === 'batch' ? null : test;
  onlyAhead?.prop([batchArbitrary])(
    'sees no more than it says: its placement and moves don’t depend on the rest',
    (batch) => {
      fc.pre(accepted(options, batch));
      const last = batch.steps.length - 1;
      const other = { ...batch, steps: batch.steps.map((step, i) => (i === last ? step.slice(0, 1) : step)) };
      const [a, b] = [plansOf(options, batch)[last], plansOf(options, other)[last]];
      expect(a.placement).toEqual(b.placement);
      expect(a.move).toEqual(b.move);
      expect(a.transfers).toBeNull();
    },
  );

  const onlyMoving = policy.sees(options) === 'history' ? test : null;
  onlyMoving?.prop([batchArbitrary])(
    'a new placement comes with the weights of every slot that changed, from where they were',
    (batch) => {
      fc.pre(accepted(options, batch));
      const plans = plansOf(options, batch);
      plans.forEach(({ placement, move }, i) => {
        const before = i > 0 ? plans[i - 1].placement : null;
        if (before === null || move === null) return;
        const held = (of: typeof placement) => (slot: number) => `${of.slotExpert[slot]}@${of.slotGpu[slot]}`;
        const loaded = move.loads.map(({ expert, destination }) => `${expert}@${destination}`);
        const kept = [...before.slotExpert.keys()].map(held(before));
        const now = [...placement.slotExpert.keys()].map(held(placement));
        // What is there now was there before, or came.
        const available = [...kept, ...loaded];
        for (const instance of now) expect(available).toContain(instance);
        for (const { expert, source } of move.loads) {
          if (source >= 0) expect(kept).toContain(`${expert}@${source}`);
        }
      });
    },
  );

  test.prop([batchArbitrary])('every expert has a home, and every slot an expert', (batch) => {
    fc.pre(accepted(options, batch));
    for (const { placement } of plansOf(options, batch)) {
      const { firstSlot, slotExpert, home, gpus, experts } = placement;
      expect([firstSlot[0], firstSlot[gpus], home.length]).toEqual([0, slotExpert.length, experts]);
      const onGpu = (gpu: number) => slotExpert.subarray(firstSlot[gpu], firstSlot[gpu + 1]);
      expect(home.every((gpu, expert) => onGpu(gpu).includes(expert))).toBe(true);
      const { slotGpu, firstInstance, instance } = placement;
      expect(slotGpu.every((gpu, slot) => slot >= firstSlot[gpu] && slot < firstSlot[gpu + 1])).toBe(true);
      expect([...instance].sort((a, b) => a - b)).toEqual([...slotExpert.keys()]);
      const listed = Array.from({ length: experts }, (__, e) =>
        instance.subarray(firstInstance[e], firstInstance[e + 1]).every((slot) => slotExpert[slot] === e),
      );
      expect(listed).not.toContain(false);
    }
  });
});
