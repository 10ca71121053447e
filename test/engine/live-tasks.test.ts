import { describe, expect, it } from 'vitest';
import { LiveTasks, PortFabric } from '../../src/engine/index.js';

/** Runs everything; returns [task, seconds] in the order of ends. */
function ends(tasks: LiveTasks, onEnd: (task: number) => void = () => {}): [number, number][] {
  const seen: [number, number][] = [];
  while (
    tasks.advance((task) => {
      seen.push([task, tasks.now]);
      onEnd(task);
    })
  );
  return seen;
}

describe('tasks launched while others run', () => {
  it('run one at a time on a stream, and side by side on two', () => {
    const tasks = new LiveTasks();
    const [a, b] = [tasks.addStream(), tasks.addStream()];
    const [first, second, third] = [tasks.addTask(a), tasks.addTask(a), tasks.addTask(b)];
    tasks.launch(first, 2);
    tasks.launch(second, 3);
    tasks.launch(third, 4);
    expect(ends(tasks)).toEqual([
      [first, 2],
      [third, 4],
      [second, 5],
    ]);
  });

  it('share links with transfers that begin later, as the fabric says', () => {
    // 10 bytes at 10 bytes/s; after half a second a second transfer of 10 bytes takes half of the port: the first has 5
    // bytes left and ends a second later, at 1.5 s; the second has then 5 bytes left and the port to itself.
    const fabric = new PortFabric(Float64Array.of(10));
    const transfers = [fabric.declare(1), fabric.declare(1)];
    for (const transfer of transfers) fabric.add(transfer, 0, 10, 1, 0);
    const tasks = new LiveTasks([fabric]);
    const [one, two] = transfers.map((transfer) => tasks.addTask(tasks.addStream(), { fabric: 0, transfer }));
    const waits = tasks.addTask(tasks.addStream());
    tasks.launch(one);
    tasks.launch(waits, 0.5);
    const seen = ends(tasks, (task) => {
      if (task === waits) tasks.launch(two);
    });
    expect(seen).toEqual([
      [waits, 0.5],
      [one, 1.5],
      [two, 2],
    ]);
  });

  it('end before anything starts at the same instant', () => {
    const tasks = new LiveTasks();
    const [one, two] = [tasks.addTask(tasks.addStream()), tasks.addTask(tasks.addStream())];
    tasks.launch(one, 1);
    tasks.launch(two, 1);
    // Both have ended when the first is told, so that the second can be launched again at once.
    const seen = ends(tasks, (task) => {
      if (task === one) tasks.launch(two, 1);
    });
    expect(seen).toEqual([
      [one, 1],
      [two, 1],
      [two, 2],
    ]);
  });

  it('cannot be launched twice at once', () => {
    const tasks = new LiveTasks();
    const task = tasks.addTask(tasks.addStream());
    tasks.launch(task, 1);
    expect(() => tasks.launch(task, 1)).toThrow('again before it ended');
  });
});
