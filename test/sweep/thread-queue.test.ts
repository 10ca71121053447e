/** Who works on which points of a sweep: all are done, in batches, and one that ends its thread is found and named. */
import { fc, test } from '@fast-check/vitest';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ThreadQueue, type PointThread } from '../../src/sweep/index.js';

/** Threads that take `seconds` for a point, and end at certain ones. */
function threadsOf(count: number, seconds: number, isFatal: (point: number) => boolean = () => false) {
  const batches: number[][] = [];
  const done: number[] = [];
  let most = 0;
  const threads = Array.from({ length: count }, (): PointThread<number> => {
    let inWork = 0;
    return {
      async run(points) {
        batches.push(points);
        most = Math.max(most, ++inWork);
        await nextTurn();
        inWork--;
        for (const point of points) {
          if (isFatal(point)) throw new Error(`out of memory at ${point}`);
          done.push(point);
        }
        return seconds * points.length;
      },
    };
  });
  return { threads, batches, done, mostInWork: () => most };
}

async function handOutAll(
  queue: ThreadQueue<number>,
  points: number,
  keyOf = (point: number) => `${point % 3}`,
) {
  const ended: Promise<string>[] = [];
  for (let point = 0; point < points; point++) {
    await queue.room();
    ended.push(
      queue.handOut(point, keyOf(point)).then(
        () => 'done',
        (error: unknown) => (error as Error).message,
      ),
    );
  }
  queue.handedOutAll();
  return Promise.all(ended);
}

describe('a queue for threads', () => {
  it('hands out single points until it knows how long one takes, then batches of a tenth of a second', async () => {
    const { threads, batches } = threadsOf(1, 0.02);
    await handOutAll(new ThreadQueue(threads, new AbortController().signal), 200);
    expect(batches[0]).toHaveLength(1);
    expect(Math.max(...batches.map(({ length }) => length))).toBe(5);
    const slow = threadsOf(1, 3);
    await handOutAll(new ThreadQueue(slow.threads, new AbortController().signal), 20);
    expect(new Set(slow.batches.map(({ length }) => length))).toEqual(new Set([1]));
  });

  it('divides what is left, so that threads end together', async () => {
    const { threads, batches } = threadsOf(4, 0.001);
    await handOutAll(new ThreadQueue(threads, new AbortController().signal), 1000, () => 'same');
    expect(batches.at(-1)!.length).toBeLessThan(4);
  });

  it('gives a thread the next batch before it has done the last', async () => {
    const { threads, mostInWork } = threadsOf(1, 0.001);
    await handOutAll(new ThreadQueue(threads, new AbortController().signal), 100);
    expect(mostInWork()).toBe(2);
  });

  test.prop([
    fc.integer({ min: 1, max: 4 }),
    fc.integer({ min: 0, max: 400 }),
    fc.uniqueArray(fc.nat(399), { maxLength: 5 }),
    fc.constantFrom(0.001, 0.03, 1),
  ])(
    'every point is done, but for those that end their thread, which are named',
    async (count, points, fatal, seconds) => {
      const { threads, batches, done } = threadsOf(count, seconds, (point) => fatal.includes(point));
      const ended = await handOutAll(new ThreadQueue(threads, new AbortController().signal), points);
      expect(ended).toEqual(
        Array.from({ length: points }, (_, point) =>
          fatal.includes(point) ? `out of memory at ${point}` : 'done',
        ),
      );
      expect([...new Set(done)].sort((a, b) => a - b)).toEqual(
        [...Array(points).keys()].filter((point) => !fatal.includes(point)),
      );
      // The one that is named was alone.
      for (const point of fatal.filter((point) => point < points)) expect(batches).toContainEqual([point]);
    },
  );

  it('that is stopped gives up what waits, with the reason', async () => {
    const stop = new AbortController();
    const never: PointThread<number> = { run: () => new Promise(() => {}) };
    const queue = new ThreadQueue([never], stop.signal);
    const ended = Array.from({ length: 300 }, (_, point) => queue.handOut(point, 'same'));
    const room = queue.room();
    stop.abort(new Error('stopped'));
    await expect(room).rejects.toThrow('stopped');
    // Two batches of one point are in work: they are for the caller to stop.
    const settled = await Promise.all(
      ended.slice(2).map((end) => end.catch((error: unknown) => (error as Error).message)),
    );
    expect(new Set(settled)).toEqual(new Set(['stopped']));
    await expect(queue.handOut(300, 'same')).rejects.toThrow('stopped');
  });
});
