/** Who gets which point of a sweep: points that share draws stay with a thread, and no thread stays without work. */
import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { WaitingPoints } from '../../src/sweep/waiting-points.js';

describe('points that wait for a thread', () => {
  it('go to the thread that had their key before, else to whoever asks first', () => {
    const waiting = new WaitingPoints<number>(10);
    ['a', 'b', 'a', 'b', 'c'].forEach((key, point) => waiting.add(point, key));
    expect(waiting.takeFor(0, true)).toBe(0);
    expect(waiting.takeFor(1, true)).toBe(1);
    expect(waiting.takeFor(1, true)).toBe(3);
    expect(waiting.takeFor(1, true)).toBe(4);
    // What is left is for thread 0: thread 1 takes it only when nothing else comes.
    expect(waiting.takeFor(1, true)).toBeNull();
    expect(waiting.takeFor(1, false)).toBe(2);
    expect(waiting.takeFor(0, false)).toBeNull();
  });

  it('go to any thread once as many wait as are looked over', () => {
    const waiting = new WaitingPoints<number>(3);
    for (let point = 0; point < 3; point++) waiting.add(point, 'a');
    expect(waiting.takeFor(0, true)).toBe(0);
    expect(waiting.takeFor(1, true)).toBeNull();
    waiting.add(3, 'a');
    expect(waiting.full).toBe(true);
    expect(waiting.takeFor(1, true)).toBe(1);
    // From now on both threads have what points of this key share.
    expect(waiting.takeFor(1, true)).toBe(2);
  });

  test.prop([
    fc.array(fc.nat(5), { maxLength: 60 }),
    fc.array(fc.tuple(fc.nat(3), fc.boolean()), { maxLength: 100 }),
    fc.integer({ min: 1, max: 20 }),
  ])('each is taken once, those of one key by one thread in their order', (keys, asks, most) => {
    const waiting = new WaitingPoints<number>(most);
    const taken: { point: number; thread: number }[] = [];
    let next = 0;
    const ask = (thread: number, more: boolean) => {
      while (!waiting.full && next < keys.length) waiting.add(next, `${keys[next++]}`);
      const point = waiting.takeFor(thread, more);
      if (point !== null) taken.push({ point, thread });
    };
    for (const [thread, more] of asks) ask(thread, more && next < keys.length);
    for (let i = 0; i < keys.length; i++) ask(0, false);
    expect(taken.map(({ point }) => point).sort((a, b) => a - b)).toEqual([...keys.keys()]);
    for (let thread = 0; thread < 4; thread++) {
      for (let key = 0; key < 6; key++) {
        const own = taken.filter((was) => was.thread === thread && keys[was.point] === key);
        expect(own.map(({ point }) => point)).toEqual(own.map(({ point }) => point).sort((a, b) => a - b));
      }
    }
  });
});
