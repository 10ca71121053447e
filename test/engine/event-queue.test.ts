import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { EventQueue } from '../../src/engine/index.js';

interface Waiting {
  time: number;
  priority: number;
  sequence: number;
}

const inOrder = (a: Waiting, b: Waiting) =>
  a.time - b.time || a.priority - b.priority || a.sequence - b.sequence;

describe('EventQueue', () => {
  test.prop(
    [fc.array(fc.oneof(fc.constant('pop' as const), fc.tuple(fc.nat(5), fc.nat(2))), { maxLength: 300 })],
    { numRuns: 500 },
  )('pops by (time, priority, sequence) however pushes and pops are mixed', (operations) => {
    const queue = new EventQueue(1);
    let waiting: Waiting[] = [];
    let sequence = 0;
    for (const operation of operations) {
      expect(queue.size).toBe(waiting.length);
      waiting.sort(inOrder);
      expect(queue.nextTime()).toBe(waiting.length > 0 ? waiting[0].time : Infinity);
      if (operation === 'pop') {
        const [first] = waiting;
        expect(queue.pop()).toBe(first !== undefined);
        if (first) expect([queue.time, queue.payload]).toEqual([first.time, first.sequence]);
        waiting = waiting.slice(1);
      } else {
        const [time, priority] = operation;
        queue.push(time, priority, sequence);
        waiting.push({ time, priority, sequence: sequence++ });
      }
    }
  });

  it('is empty after clear, and numbers its events anew', () => {
    const queue = new EventQueue();
    queue.push(1, 0, 7);
    queue.pop();
    queue.push(2, 0, 8);
    queue.clear();
    expect(queue.size).toBe(0);
    expect(queue.pop()).toBe(false);
    expect(queue.nextTime()).toBe(Infinity);
  });
});
