import { describe, expect, it } from 'vitest';
import { twinCloseness } from '../../src/inspection/index.js';
import { randomStream, rowsInMemory, type TokenTrace } from '../../src/routing/index.js';
import { traceOf } from '../routing/recording.js';

const LENGTH = 60;
const LAYERS = 2;

/** Picks of a sequence: a first choice that is expert 0 as often as said, and another one. */
function sequence(number: number, share: number): number[] {
  const random = randomStream(1, `sequence ${number}`);
  return Array.from({ length: LENGTH * LAYERS }, () => {
    const first = random() < share ? 0 : Math.floor(8 * random());
    return [first, (first + 1 + Math.floor(7 * random())) % 8];
  }).flat();
}

function recordingOf(sequences: readonly number[][]): TokenTrace {
  const trace = traceOf(
    sequences.map(() => LENGTH),
    LAYERS,
  );
  return { ...trace, rows: rowsInMemory(trace.tokens, Uint8Array.from(sequences.flat()), null) };
}

/** Sequences in pairs, the second of each less skewed than the first. */
const pairs = Array.from({ length: 8 }, (_, i) => [sequence(2 * i, 0.45), sequence(2 * i + 1, 0.25)]);

describe('how close a twin is', () => {
  const there = twinCloseness(recordingOf(pairs.flat()), []);
  const back = twinCloseness(recordingOf(pairs.flatMap(([a, b]) => [b, a])), []);

  it('the other way round is what is found where the halves change places', () => {
    expect(there.heldOut).toBe(true);
    expect(there.traits.map(({ otherWay }) => otherWay)).toEqual(
      back.traits.map(({ difference }) => difference),
    );
    expect(back.traits.map(({ otherWay }) => otherWay)).toEqual(
      there.traits.map(({ difference }) => difference),
    );
  });

  it('halves that differ are told from a twin that does', () => {
    const { difference, otherWay, verdict } = there.traits.find(({ name }) => name === 'γ expert')!;
    // One half picks expert 0 about half as often again as the other: γ of some 2.1 and 1.6.
    expect(difference).toBeGreaterThan(0.2);
    expect(otherWay).toBeLessThan(-0.1);
    expect(verdict).toBe('as the halves differ');
  });

  it('within 10 % is so both ways', () => {
    for (const { difference, otherWay, verdict } of there.traits.filter(
      ({ verdict: own }) => own !== 'not fitted',
    )) {
      const ways = [difference, otherWay!];
      expect(verdict === 'within 10 %').toBe(ways.every((way) => Math.abs(way) <= 0.1));
      if (verdict === 'as the halves differ') expect(Math.abs(ways[0] + ways[1])).toBeLessThanOrEqual(0.2);
    }
  });

  it('of too few sequences there is one way', () => {
    const few = twinCloseness(recordingOf(pairs.slice(0, 3).flat()), []);
    expect(few.heldOut).toBe(false);
    expect(few.traits.every(({ otherWay }) => otherWay === null)).toBe(true);
  });
});
