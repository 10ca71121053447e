import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { policies } from '../../src/balancing/index.js';
import { tuneText } from '../../src/report/index.js';
import {
  defaultSpace,
  dominates,
  flatness,
  halvingRounds,
  policyWith,
  settingsOf,
  survivors,
  type TuneResult,
} from '../../src/sweep/index.js';

describe('successive halving', () => {
  it.each([
    [5, [[1, 5, 0]]],
    [
      24,
      [
        [1 / 3, 1, 8],
        [1, 5, 0],
      ],
    ],
    [
      168,
      [
        [1 / 27, 1, 56],
        [1 / 9, 1, 19],
        [1 / 3, 1, 8],
        [1, 5, 0],
      ],
    ],
  ])('of %d settings: shares of the steps, seeds, settings that pass', (settings, rounds) => {
    expect(halvingRounds(settings, 5).map(({ share, seeds, keep }) => [share, seeds, keep])).toEqual(rounds);
  });

  it('lets those pass that fewest others beat, then the smaller sum, one of equals, the plainest', () => {
    const scores = [
      [1, 9], // on the front; sum 1 + 4.5
      [2, 2], // on the front; sum 2 + 1
      [2, 3], // beaten by one
      [4, 4], // beaten by two
      [2, 2], // the same as the second, but plainer
    ];
    expect(survivors(scores, [0, 2, 0, 0, 1], 1)).toEqual([4]);
    expect(survivors(scores, [0, 2, 0, 0, 1], 2)).toEqual([0, 4]);
    expect(survivors(scores, [0, 2, 0, 0, 1], 5)).toEqual([0, 2, 3, 4]);
  });

  const score = fc.tuple(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 5 }));
  test.prop([fc.array(score, { minLength: 1, maxLength: 20 }), fc.integer({ min: 1, max: 20 })])(
    'never drops a setting for one that it beats',
    (scores, keep) => {
      const kept = survivors(
        scores,
        scores.map(() => 0),
        keep,
      );
      // Of equal ones only one passes
      const isKept = (score: number[]) => kept.some((i) => scores[i].join() === score.join());
      const dropped = scores.filter((score) => !isKept(score));
      for (const out of dropped) {
        for (const i of kept) expect(dominates(out, scores[i])).toBe(false);
      }
    },
  );
});

it('says which values of each option come near the best', () => {
  const settings = settingsOf({ a: [1, 2], b: ['x', 'y'] });
  expect(settings).toEqual([
    { a: 1, b: 'x' },
    { a: 1, b: 'y' },
    { a: 2, b: 'x' },
    { a: 2, b: 'y' },
  ]);
  expect(flatness(settings, [100, 101, 103, 110], 0.02)).toEqual({ a: [1], b: ['x', 'y'] });
});

it.each([
  { experts: 128, gpus: 8, weightBits: 16 },
  { experts: 32, gpus: 32, weightBits: 4 },
])('tries by default only what the policies allow (%j)', (site) => {
  for (const { kind, options } of policies) {
    const policy = options.parse({ kind });
    for (const setting of settingsOf(defaultSpace(kind, site) ?? {})) {
      expect(() => options.parse(policyWith(policy, setting, '--over'))).not.toThrow();
    }
  }
});

it('reaches options of a rule by their path, whether the rule stands there by name or with options', () => {
  const setting = { 'placement.slots': 40, dispatch: 'random' };
  const changed = { kind: 'eplb', placement: { kind: 'eplb', slots: 40 }, dispatch: 'random' };
  expect(policyWith({ kind: 'eplb', placement: 'eplb' }, setting, '--over')).toEqual(changed);
  const given = { kind: 'eplb', placement: { kind: 'eplb', slots: 32 }, dispatch: 'even' };
  expect(policyWith(given, setting, '--over')).toEqual(changed);
  expect(given.placement.slots).toBe(32);
  expect(() => policyWith({ kind: 'eplb' }, { 'placement.__proto__.slots': 1 }, '--over')).toThrow('--over');
});

describe('what is said of a search', () => {
  const interval = (mean: number) => ({ mean, low: mean - 0.05, high: mean + 0.05 });
  const figures: TuneResult = {
    policy: 'llep',
    minimise: ['step', 'peak-memory'],
    tried: 4,
    failed: null,
    rounds: [{ settings: 4, steps: 10, seeds: 3 }],
    finalists: [
      {
        setting: { alpha: 1.25 },
        scores: [interval(0.01), interval(2 ** 30)],
        speedup: interval(1.3),
        onFront: true,
        refused: null,
      },
    ],
    recommended: {
      setting: { alpha: 1.25 },
      seeds: 8,
      speedup: interval(1.3),
      gatedShare: 0,
      overDefaults: interval(1.1),
      overNext: null,
    },
    flat: { alpha: [1.25, 1.5] },
    batches: [],
    heldOut: false,
    seedsMatter: true,
  };
  const last = (changes: Partial<TuneResult>) =>
    tuneText({ ...figures, ...changes })
      .split('\n')
      .at(-1);
  const recommended = figures.recommended!;

  it('ends in what to do', () => {
    expect(last({})).toBe('Use llep with alpha 1.25: 1.30× [1.25, 1.35] as fast as ep on 8 fresh seeds.');
    expect(last({ recommended: { ...recommended, speedup: interval(1.02) } })).toMatch(
      /^Stay with ep here: the best/,
    );
    const [finalist] = figures.finalists;
    expect(last({ recommended: null, finalists: [{ ...finalist, refused: 'does not fit' }] })).toBe(
      'Stay with ep here: no setting of llep may be recommended; the best one does not fit.',
    );
  });

  it.each([
    [
      [0.8, 0.9, 1.02, 1.2],
      'Break-even batch with this setting: ep wins up to 2; llep wins from 8 tokens per GPU on.',
    ],
    [[1.2, 1.3], 'llep beats ep from 1 tokens per GPU on, the fewest that were tried.'],
    [[0.8, 1.01], 'Up to 2 tokens per GPU, the most that was tried, llep does not surely beat ep.'],
  ])('finds the break-even batch in %j', (speedups, line) => {
    const batches = speedups.map((speedup, i) => ({ tokensPerGpu: 2 ** i, speedup: interval(speedup) }));
    expect(tuneText({ ...figures, batches })).toContain(line);
  });
});
