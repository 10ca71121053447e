import { fc, test } from '@fast-check/vitest';
import { expect, it } from 'vitest';
import {
  addCriticalSeconds,
  Executor,
  MemoryLedger,
  PortFabric,
  TaskGraphBuilder,
} from '../../src/engine/index.js';

const executorOf = (graph: TaskGraphBuilder) =>
  new Executor(
    graph.compile(),
    new PortFabric(Float64Array.of(1)),
    new MemoryLedger(1, 1, Float64Array.of(Infinity)),
  );

it('follows the slower of two streams into a barrier, and what comes behind it', () => {
  const graph = new TaskGraphBuilder();
  const [one, two] = [graph.addStream(), graph.addStream()];
  graph.addTask({ streams: [one], label: 0 });
  graph.addTask({ streams: [two], label: 1 });
  graph.addTask({ streams: [two], label: 2 });
  graph.addTask({ streams: [one, two], label: 3 });
  graph.addTask({ streams: [one], label: 0 });
  const executor = executorOf(graph);
  executor.duration.set([4, 3, 2, 10, 1]);
  executor.run(7);
  const seconds = new Float64Array(4);
  addCriticalSeconds(executor, seconds);
  expect([...seconds]).toEqual([1, 3, 2, 10]);
});

const tasks = fc.array(
  fc.record({ stream: fc.nat(3), after: fc.nat(20), duration: fc.integer({ min: 0, max: 9 }) }),
  { minLength: 1, maxLength: 20 },
);

test.prop([tasks])('seconds of all labels sum to the time of the run', (specs) => {
  const graph = new TaskGraphBuilder();
  const streams = [0, 1, 2, 3].map(() => graph.addStream());
  specs.forEach(({ stream, after }, task) => {
    graph.addTask({ streams: [streams[stream]], after: task > 0 ? [after % task] : [], label: task % 3 });
  });
  const executor = executorOf(graph);
  executor.duration.set(specs.map(({ duration }) => duration));
  const end = executor.run(0);
  const seconds = new Float64Array(3);
  addCriticalSeconds(executor, seconds);
  expect(seconds.reduce((sum, part) => sum + part, 0)).toBe(end);
});
