/** Answers that set policies beside each other: no winner inside the noise, no rival left out. */
import { describe, expect, it } from 'vitest';
import { largestBatch, questions, withListed, type Desk } from '../../src/advice/index.js';
import { parsePolicy } from '../../src/scenario/index.js';
import type { PolicyOptions } from '../../src/balancing/index.js';
import { fakeDesk, fakeResult, offline } from './fake-desk.js';

/** Answers a question whose runs have policies of these seconds, ep first. */
function ask(
  wanted: string,
  seconds: number[],
  ties: number[] = [],
  own: Partial<Desk> = {},
  chooseBy = seconds,
) {
  const desk = fakeDesk(
    (use, variant) =>
      fakeResult(
        variant.policies(offline),
        (use === 'choose' ? chooseBy : seconds).map((each) => ({ seconds: each })),
        ties,
      ),
    { routing: 'zipf', ...own },
  );
  return questions.find(({ name }) => name === wanted)!.answer(desk);
}

describe('decode-target', () => {
  it.each<[string, number[], number[]]>([
    ['Neither, ep is fastest:', [1, 1.1, 1.2, 1.3], []],
    ['Tokens, shared evenly:', [2, 1, 1.2, 1.3], []],
    ['Active experts:', [2, 1.2, 1.1, 1], []],
    [
      'Not to be told, active experts is fastest but not beyond doubt faster than tokens, shared evenly:',
      [2, 1.01, 1.1, 1],
      [1],
    ],
  ])('says %s', async (said, seconds, ties) => {
    const { sentence, rows } = await ask('decode-target', seconds, ties);
    expect(sentence.startsWith(said)).toBe(true);
    expect(rows).toHaveLength(4);
  });
});

describe('replica-choice', () => {
  // ep, even, random, round-robin, nearest, lp
  const seconds = [2, 1.2, 1, 1.1, 1.3, 1.4];
  it.each<[string, number[], number[], number[] | undefined]>([
    ['random:', seconds, [], undefined],
    ["Tie, random was chosen on the other part but can't be told from round-robin:", seconds, [3], undefined],
    [
      "Tie, even was chosen on the other part but can't be told from random:",
      seconds,
      [1],
      [2, 1, 1.2, 1.3, 1.4, 1.5],
    ],
    [
      'None for sure, even was fastest on the part to choose from and random is',
      seconds,
      [],
      [2, 1, 1.2, 1.3, 1.4, 1.5],
    ],
    ['None, ep is faster:', [0.9, 1.2, 1, 1.1, 1.3, 1.4], [], undefined],
  ])('says %s', async (said, scored, ties, chosen) => {
    expect((await ask('replica-choice', scored, ties, {}, chosen)).sentence.startsWith(said)).toBe(true);
  });
});

describe('other-trace', () => {
  const other = { other: 'other.parquet' };

  it('gives no share of the gain where the interval does not tell the two apart', async () => {
    const { sentence } = await ask('other-trace', [2, 1, 1.02], [2], other);
    expect(sentence).toMatch(/^Yes: .*; the paired interval does not tell the two apart\.$/);
  });

  it('gives the share with the range that both intervals allow', async () => {
    // Saved: 1 − 1/1.25 = 0.2 of 1 − 1/2 = 0.5. Intervals of 1 %: 1.2376 to 1.2625, and 1.9802 to 2.02.
    const { sentence } = await ask('other-trace', [2, 1.6, 1], [], other);
    // 0.192 / 0.505 = 0.38 and 0.2079 / 0.495 = 0.42
    expect(sentence).toMatch(/^In part: .*; 40 % \[38, 42\] of the gain is kept\.$/);
  });

  it('has nothing to keep where the trace’s own placement does not gain beyond doubt', async () => {
    expect((await ask('other-trace', [1, 0.99, 0.995], [2], other)).sentence).toMatch(/^Nothing to keep/);
  });
});

describe('worth-it', () => {
  const parsed = (input: object) => parsePolicy(input, 'test') as PolicyOptions;
  const usual = ['ep', 'llep', { kind: 'eplb', history: offline }] as const;

  it('tries every policy of the scenario that differs from the usual ones in an option', () => {
    const listed = [
      parsed({ kind: 'eplb', slots: 96, dispatch: 'lp' }),
      parsed({ kind: 'llep', alpha: 1.2 }),
    ];
    expect(withListed(usual, listed, offline).slice(3)).toEqual(listed);
  });

  it('leaves out what it tries anyway', () => {
    const listed = [parsed({ kind: 'llep' }), parsed({ kind: 'eplb' })];
    expect(withListed(usual, listed, offline)).toEqual(usual);
  });

  it('takes the kernels of the phase that is asked about, and says so', async () => {
    const sets: unknown[] = [];
    const desk = fakeDesk(
      (_, variant) => {
        sets.push(variant.set?.runtime);
        return fakeResult(variant.policies(offline), [{ seconds: 2 }, { seconds: 1 }, { seconds: 1.5 }]);
      },
      { runtime: { preset: 'deepep-low-latency', attentionTensorParallel: 2 } as Desk['runtime'] },
    );
    const { sentence } = await questions.find(({ name }) => name === 'worth-it-prefill')!.answer(desk);
    expect(sets).toEqual([{ preset: 'deepep-normal', attentionTensorParallel: 2 }]);
    expect(sentence).toMatch(
      /^Yes at 64 tokens per GPU under deepep-normal \(deepep-low-latency has the kernels of decode\)/,
    );
    await questions.find(({ name }) => name === 'worth-it-decode')!.answer(desk);
    expect(sets[1]).toBeUndefined();
  });
});

describe('interval', () => {
  // ep, then 10 blocking and async, 30 both, 100 both: ten layers, 300 steps.
  const at = (best: number) => [2, 1.9, 1.8, 1.7, 1.6, 1.5].map((each, i) => (i === best ? 1 : each));
  it.each<[string, number]>([
    ['shortest that was tried, of 10 to 100: a shorter one may be better', 1],
    ['longest that was tried, of 10 to 100, as far as the steps allow: a longer one may be better', 5],
  ])('says that its answer is the %s', async (said, best) => {
    expect((await ask('interval', at(best))).sentence).toContain(said);
  });

  it('says nothing of that between them', async () => {
    expect((await ask('interval', at(3))).sentence).not.toContain('may be better');
  });
});

describe('largestBatch', () => {
  it.each([1, 2, 3, 7, 8])('finds that %i of 8 fit', async (most) => {
    expect(await largestBatch(8, (tried) => Promise.resolve(tried <= most))).toBe(most);
  });

  it('finds nothing where nothing fits', async () => {
    expect(await largestBatch(8, () => Promise.resolve(false))).toBeNull();
  });
});
