import { describe, expect, it } from 'vitest';
import { GroupWise } from '../../src/execution/traffic/index.js';

/** Messages as [from, to, copies], those of a GPU to itself left out. */
function sent(size: number, groupWise: boolean, copies: [number, number, number][]) {
  const gpus = 4;
  const send = new Float64Array(gpus * gpus);
  for (const [source, gpu, count] of copies) send[source * gpus + gpu] = count;
  const traffic = new GroupWise(gpus, size, groupWise);
  const matrix = traffic.messages({ work: { send } as never });
  const messages: [number, number, number][] = [];
  matrix.forEach((count, cell) => {
    const [from, to] = [Math.floor(cell / gpus), cell % gpus];
    if (count > 0 && from !== to) messages.push([from, to, count]);
  });
  return { messages, received: [...traffic.received] };
}

describe('group-wise all-to-all', () => {
  it('sends a GPU’s own share to the GPU of its index, which hands it on inside its group', () => {
    // GPU 1's five copies for an expert of GPU 2 reach its group (2, 3) by GPU 3; GPU 0's two stay in its own group.
    const { messages, received } = sent(2, true, [
      [1, 2, 5],
      [0, 0, 2],
    ]);
    expect(messages).toEqual([
      [0, 1, 2],
      [1, 3, 5],
      [3, 2, 5],
    ]);
    expect(received).toEqual([2, 2, 5, 5]);
  });

  it('else sends all of the group’s copies from every GPU of it: twice the bytes over the slow links of two', () => {
    const { messages, received } = sent(2, false, [
      [1, 2, 5],
      [0, 3, 1],
    ]);
    expect(messages).toEqual([
      [0, 2, 6],
      [1, 3, 6],
    ]);
    expect(received).toEqual([0, 0, 6, 6]);
    const slow = sent(2, true, [
      [1, 2, 5],
      [0, 3, 1],
    ]).messages.filter(([from, to]) => Math.floor(from / 2) !== Math.floor(to / 2));
    expect(slow.reduce((sum, [, , copies]) => sum + copies, 0)).toBe(6);
  });

  it('is every copy to its own GPU where nobody shares experts', () => {
    const copies: [number, number, number][] = [
      [0, 3, 2],
      [1, 2, 4],
      [2, 2, 1],
    ];
    for (const groupWise of [true, false]) {
      const { messages, received } = sent(1, groupWise, copies);
      expect(messages).toEqual(copies.slice(0, 2));
      expect(received).toEqual([0, 0, 5, 2]);
    }
  });
});
