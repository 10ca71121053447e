import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { policies, policyLabel, policyOf } from '../../src/balancing/index.js';
import { alignSlots } from '../../src/balancing/movement/align-slots.js';
import { changedSlots } from '../../src/balancing/movement/changed-slots.js';
import { placementOf, slotsByGpu } from '../../src/balancing/placement.js';
import type { Planning } from '../../src/balancing/plan.js';
import { policySetting } from './policy-setting.js';

describe('slot alignment', () => {
  it('keeps what stays in its slot and fills the holes in order', () => {
    const current = placementOf(
      [
        [0, 1, 2],
        [3, 4, 5],
      ],
      6,
      16,
    );
    const next = placementOf(
      [
        [2, 3, 0],
        [5, 1, 4],
      ],
      6,
      16,
    );
    const aligned = alignSlots(current, next);
    expect(slotsByGpu(aligned)).toEqual([
      [0, 3, 2],
      [1, 4, 5],
    ]);
    expect(changedSlots(current, aligned, 'gpus', 2)!.loads).toEqual([
      { expert: 3, source: 1, destination: 0, bits: 16 },
      { expert: 1, source: 0, destination: 1, bits: 16 },
    ]);
    // Without alignment all six slots change, four of them inside a GPU's memory.
    const all = changedSlots(current, next, 'gpus', 2)!.loads;
    expect(all.length).toBe(6);
    expect(all.filter(({ source, destination }) => source === destination).length).toBe(4);
  });

  it('fetches from the own node where it can, and from the GPU that sends least', () => {
    // Nodes (0 1) (2 3). Expert 0 is on GPUs 0, 2 and 3; GPU 1 needs it, and expert 4 that only GPU 3 has.
    const current = placementOf(
      [
        [0, 1],
        [2, 3],
        [0, 5],
        [4, 0],
      ],
      6,
      16,
    );
    const next = placementOf(
      [
        [0, 1],
        [0, 4],
        [2, 5],
        [3, 0],
      ],
      6,
      16,
    );
    expect(changedSlots(current, next, 'gpus', 2)!.loads).toEqual([
      { expert: 0, source: 0, destination: 1, bits: 16 },
      { expert: 4, source: 3, destination: 1, bits: 16 },
      { expert: 2, source: 1, destination: 2, bits: 16 },
      { expert: 3, source: 1, destination: 3, bits: 16 },
    ]);
    expect(changedSlots(current, next, 'host', 2)!.loads.every(({ source }) => source === -1)).toBe(true);
    expect(changedSlots(current, current, 'gpus', 2)).toBeNull();
  });

  const slotsArbitrary = fc.array(fc.array(fc.nat(7), { minLength: 3, maxLength: 3 }), {
    minLength: 3,
    maxLength: 3,
  });
  test.prop([slotsArbitrary, slotsArbitrary])(
    'leaves every GPU its experts, and moves no more than what the GPU lacked',
    (before, after) => {
      const full = (slots: number[][]) => placementOf([[0, 1, 2, 3, 4, 5, 6, 7], ...slots], 8, 16);
      const [current, next] = [full(before), full(after)];
      const aligned = alignSlots(current, next);
      const sorted = (placement: typeof next) => slotsByGpu(placement).map((own) => [...own].sort());
      expect(sorted(aligned)).toEqual(sorted(next));
      for (let e = 0; e < 8; e++) {
        for (let i = aligned.firstInstance[e]; i < aligned.firstInstance[e + 1]; i++)
          expect(aligned.slotExpert[aligned.instance[i]]).toBe(e);
      }
      const lacked = after.flatMap((own, gpu) => {
        const left = [...before[gpu]];
        return own.filter((expert) => {
          const at = left.indexOf(expert);
          if (at >= 0) left.splice(at, 1);
          return at < 0;
        });
      });
      expect(changedSlots(current, aligned, 'gpus', 2)?.loads.length ?? 0).toBe(lacked.length);
    },
  );
});

/** Two layers of a model of four, four GPUs, eight experts; all load on expert `step` mod 8. */
function run(change: object, steps: number, layers = 2) {
  const eplb = policies.find(({ kind }) => kind === 'eplb')!;
  const options = eplb.options.parse({ kind: 'eplb', ...change });
  const policy = policyOf(options);
  const setting = policySetting(4, 8, {
    layers,
    layerIds: [0, 1].slice(0, layers),
    moeLayers: 4,
    calibration: () => Array.from({ length: layers }, () => new Float64Array(8).fill(1)),
  });
  expect(policy.refusal(options, setting)).toBeNull();
  let state = policy.start(options, setting);
  const seen: { hottest: number; moved: number; beside: number; planning: Planning | null }[][] = [];
  for (let step = 0; step < steps; step++) {
    seen.push(
      Array.from({ length: layers }, (_, layer) => {
        const counts = new Int32Array(32);
        counts[step % 8] = 100;
        const loads = Float64Array.from(counts.subarray(0, 8));
        const view = { step, layer, counts, loads, tokensBySource: null, tokens: null, seed: 1 };
        const decided = policy.decide(state, view);
        state = decided.state;
        const { placement, move, background, planning } = decided.plan;
        const instances = Array.from(
          { length: 8 },
          (__, e) => placement.firstInstance[e + 1] - placement.firstInstance[e],
        );
        return {
          hottest: instances.indexOf(Math.max(...instances)),
          moved: move?.loads.length ?? 0,
          beside: background?.share ?? 0,
          planning,
        };
      }),
    );
  }
  return { options, seen, setting, policy };
}

describe('when placements come into force', () => {
  it('blocking: in the step of the plan, from the steps before it; the move is in that step', () => {
    const { seen } = run({ history: { kind: 'window', steps: 1, interval: 3 } }, 7);
    // The plan of step 3 knows step 2, that of step 6 step 5.
    expect(seen.map(([{ hottest }]) => hottest).slice(3)).toEqual([2, 2, 2, 5]);
    expect(seen.map(([{ moved }]) => moved > 0)).toEqual([false, false, false, true, false, false, true]);
    expect(seen.map(([, { moved }]) => moved > 0)).toEqual(seen.map(([{ moved }]) => moved > 0));
  });

  it('staleness: as many steps later', () => {
    const { seen } = run({ history: { kind: 'window', steps: 1, interval: 3, staleness: 2 } }, 7);
    expect(seen.map(([{ moved }]) => moved > 0)).toEqual([false, false, false, false, false, true, false]);
    expect(seen[5][0].hottest).toBe(2);
  });

  it('window: the sum of the latest steps; decay: older ones fade', () => {
    // Steps 0, 1, 2 load experts 0, 1, 2 equally: a window of three is a tie of all, which the first expert wins.
    const three = run(
      { history: { kind: 'window', steps: 3, interval: 3 }, placement: { kind: 'eplb', slots: 12 } },
      4,
    );
    expect(three.seen[3][0].hottest).toBe(0);
    const faded = run(
      { history: { kind: 'decay', factor: 0.1, interval: 3 }, placement: { kind: 'eplb', slots: 12 } },
      4,
    );
    expect(faded.seen[3][0].hottest).toBe(2);
  });

  it('chunked: layer after layer; two sampled layers of four stand for layers 0 and 2', () => {
    const { seen } = run({ history: { kind: 'window', interval: 4 }, movement: 'chunked' }, 8);
    expect(seen.map(([{ moved }]) => moved > 0).indexOf(true)).toBe(4);
    expect(seen.map(([, { moved }]) => moved > 0).indexOf(true)).toBe(6);
  });

  it('async: beside the layers for as many steps as the model has layers, then layer after layer', () => {
    const { seen } = run({ history: { kind: 'window', steps: 1, interval: 5 }, movement: 'async' }, 10);
    for (const layer of [0, 1]) {
      expect(seen.map((step) => step[layer].beside)).toEqual([0, 0, 0, 0, 0, 0.25, 0.25, 0.25, 0.25, 0]);
      expect(seen.every((step) => step[layer].moved === 0)).toBe(true);
    }
    const changes = (layer: number) => seen.findIndex((step) => step[layer].hottest === 4);
    // Layer 0 is there one step after the plan of step 5, layer 2 two later.
    expect([changes(0), changes(1)]).toEqual([6, 8]);
  });

  it('oracle: in every step, for that very step, and nothing moves for it', () => {
    const { seen, policy, options } = run({ history: 'oracle' }, 4);
    expect(seen.map(([{ hottest }]) => hottest)).toEqual([0, 1, 2, 3]);
    expect(seen.every(([{ moved }]) => moved === 0)).toBe(true);
    expect(policy.hypothetical(options)).toBe(true);
  });

  it('skipAbove: no plan while the load is even enough', () => {
    const rule = (skipAbove: number) =>
      run({ history: { kind: 'window', steps: 8, interval: 8, skipAbove } }, 9);
    // After eight steps every expert has had the same load. Slots 0 to 11 hold experts 0 to 7 and 0 to 3, so that GPUs
    // have 1.5, 2.5, 2.5 and 1.5 experts' worth of it: mean/max is 0.8.
    expect(rule(0.79).seen[8][0].moved).toBe(0);
    expect(rule(0.81).seen[8][0].moved).toBeGreaterThan(0);
  });
});

describe('what a plan costs', () => {
  const planned = (change: object, steps = 4) =>
    run({ history: { kind: 'window', steps: 1, interval: 3 }, ...change }, steps).seen.map((step) =>
      step.map(({ planning }) => planning),
    );

  it('6 µs per expert of a layer, and every layer its share of what all take together', () => {
    const plain = planned({});
    expect(plain.slice(0, 3).flat()).toEqual([null, null, null, null, null, null]);
    for (const planning of plain[3]) expect(planning!.seconds).toBeCloseTo(8 * 6e-6, 12);
    const [[, own]] = planned({
      movement: { kind: 'blocking', planSeconds: 0.1, planSecondsPerExpert: 1e-3 },
    }).slice(3);
    // Four layers in the model, of which two are simulated.
    expect(own!.seconds).toBeCloseTo(0.1 / 4 + 8e-3, 12);
  });

  it('blocking and chunked wait for it, async does not', () => {
    const stalls = (movement: string) =>
      planned({ movement, history: { kind: 'window', interval: 6 } }, 7)[6][0]!.stalls;
    expect([stalls('blocking'), stalls('chunked'), stalls('async')]).toEqual([true, true, false]);
  });

  it('a limit costs nothing', () => {
    expect(planned({ movement: 'free' })[3][0]!.seconds).toBe(0);
    expect(planned({ history: 'oracle' })[0][0]!.seconds).toBe(0);
    expect(
      planned({ history: 'calibration' })
        .flat()
        .map((planning) => planning?.seconds ?? null),
    ).toEqual([0, 0, null, null, null, null, null, null]);
  });

  it('says which balance it expects: all load on expert 2, whose five instances stand on all four GPUs', () => {
    // Step 2 loads expert 2 alone, which gets the four spare slots.
    const { expected } = planned({ placement: { kind: 'eplb', avoidDuplicates: true } })[3][0]!;
    expect(expected).toBeGreaterThanOrEqual(1);
    expect(expected).toBeLessThan(2);
  });
});

describe('combinations that cannot work', () => {
  const refusal = (kind: string, change: object) => {
    const { setting } = run({}, 1);
    const options = policies.find((policy) => policy.kind === kind)!.options.parse({ kind, ...change });
    const refused = policyOf(options).refusal(options, setting);
    return refused && `${refused.option}: found ${refused.found}, allowed: ${refused.allowed}`;
  };

  it.each([
    [
      'combination',
      { history: 'window' },
      /^history: found window, where placement contiguous looks at no loads/,
    ],
    ['eplb', { movement: 'async' }, /^movement: found async, where nothing moves: placements are made once/],
    [
      'eplb',
      { movement: 'chunked', history: 'oracle' },
      /^movement: found chunked, where history oracle plans/,
    ],
    [
      'eplb',
      { movement: 'async', history: { kind: 'window', interval: 4 } },
      /^history.interval: found 4, while a plan is in force everywhere only 4 steps .* allowed: more than 4 \(interval: 5\)/,
    ],
    [
      'eplb',
      { history: { kind: 'decay', interval: 4, staleness: 4 } },
      /^history.interval: found 4, .* or less history.staleness$/,
    ],
  ])('%s %o', (kind, change, message) => {
    expect(refusal(kind, change)).toMatch(message);
  });

  it('labels say what differs from a policy’s defaults', () => {
    const label = (change: object) => policyLabel(run(change, 1).options);
    expect(label({})).toBe('eplb');
    expect(label({ dispatch: 'lp', placement: { kind: 'eplb', slots: 16 } })).toBe(
      'eplb(placement.slots=16, dispatch=lp)',
    );
    expect(
      label({ history: { kind: 'window', interval: 9 }, movement: { kind: 'async', layersPerStep: 2 } }),
    ).toBe('eplb(movement=async, movement.layersPerStep=2, history=window, history.interval=9)');
  });
});
