/** Names of policies in pictures: short enough, and each once. */
import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { headingsOf } from '../../src/report/page/headings.js';

describe('headings', () => {
  it('leave out what policies of a kind have in common', () => {
    const shared = 'placement.kind=eplb, placement.groups=4, dispatch=least-loaded';
    expect(
      headingsOf(
        [
          'ep',
          `eplb(${shared}, history.interval=2)`,
          `eplb(${shared}, history.interval=16)`,
          'balanced (anchor)',
        ],
        40,
      ),
    ).toEqual(['ep', 'eplb(interval=2, …)', 'eplb(interval=16, …)', 'balanced (anchor)']);
  });

  it('are as they are where there is room', () => {
    expect(headingsOf(['llep(alpha=1.2)', 'llep(alpha=1.5)'], 40)).toEqual([
      'llep(alpha=1.2)',
      'llep(alpha=1.5)',
    ]);
  });

  it('are numbered where cutting them off makes them alike', () => {
    const [first, second] = headingsOf([`a${'x'.repeat(40)}1`, `a${'x'.repeat(40)}2`], 12);
    expect([first, second]).toEqual(['axxxxxxx… #1', 'axxxxxxx… #2']);
  });

  test.prop([
    fc.uniqueArray(
      fc
        .tuple(
          fc.constantFrom('eplb', 'llep', 'capacity'),
          fc.array(fc.constantFrom('a=1', 'a=2', 'bb=33', 'c=x')),
        )
        .map(([kind, options]) => (options.length > 0 ? `${kind}(${options.join(', ')})` : kind)),
      { minLength: 1, maxLength: 20 },
    ),
    fc.integer({ min: 8, max: 60 }),
  ])('no two are alike, none is too long', (names, most) => {
    const headings = headingsOf(names, most);
    expect(new Set(headings).size).toBe(names.length);
    for (const heading of headings) expect(heading.length).toBeLessThanOrEqual(most);
  });
});
