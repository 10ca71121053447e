import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import {
  Executor,
  MemoryLedger,
  PortFabric,
  TaskGraphBuilder,
  type TaskGraph,
} from '../../src/engine/index.js';

const noLimit = new Float64Array(4).fill(Infinity);

function executorOf(
  graph: TaskGraph,
  fabric = new PortFabric(Float64Array.of(1)),
  ledger = new MemoryLedger(4, 1, noLimit),
) {
  return new Executor(graph, fabric, ledger);
}

describe('Executor', () => {
  it('runs a stream in launch order, and streams beside each other', () => {
    const graph = new TaskGraphBuilder();
    const [one, two] = [graph.addStream(), graph.addStream()];
    const a = graph.addTask({ streams: [one] });
    const b = graph.addTask({ streams: [one] });
    const c = graph.addTask({ streams: [two] });
    const d = graph.addTask({ streams: [two], after: [a] });
    const executor = executorOf(graph.compile());
    executor.duration.set([3, 4, 1, 10]);
    expect(executor.run(0)).toBe(13);
    expect([a, b, c, d].map((task) => executor.start[task])).toEqual([0, 3, 0, 3]);
  });

  it('lets a head that waits for peers block what stands behind it', () => {
    const graph = new TaskGraphBuilder();
    const [one, two] = [graph.addStream(), graph.addStream()];
    graph.addTask({ streams: [one] });
    const slow = graph.addTask({ streams: [two] });
    const barrier = graph.addTask({ streams: [one, two] });
    const behind = graph.addTask({ streams: [one] });
    const executor = executorOf(graph.compile());
    executor.duration.set([1, 9, 2, 1]);
    executor.run(0);
    expect(executor.start[barrier]).toBe(executor.end[slow]);
    expect(executor.start[behind]).toBe(11);
  });

  it('hands what one graph keeps to another, which frees it', () => {
    const ledger = new MemoryLedger(4, 1, noLimit);
    const [forward, backward] = [new TaskGraphBuilder(), new TaskGraphBuilder()];
    const kept = forward.addBuffer(0, 'kept');
    forward.addTask({ streams: [], allocates: [kept] });
    const given = backward.addBuffer(0, 'given');
    backward.addTask({ streams: [], reads: [given] });
    const [first, second] = [forward, backward].map((graph) =>
      executorOf(graph.compile(), undefined, ledger),
    );
    first.bufferBytes[kept] = second.bufferBytes[given] = 7;
    first.run(0);
    expect(ledger.usedBy(0)).toBe(7);
    second.run(0);
    expect(ledger.usedBy(0)).toBe(0);
  });

  it('refuses buffers whose allocations and readers contradict their lifetime', () => {
    const graphOf = (lifetime: 'within' | 'kept' | 'given', allocates: boolean, reads: boolean) => {
      const graph = new TaskGraphBuilder();
      const buffer = graph.addBuffer(0, lifetime);
      const list = (used: boolean) => (used ? [buffer] : []);
      graph.addTask({ streams: [], allocates: list(allocates), reads: list(reads) });
      return () => graph.compile();
    };
    expect(graphOf('within', true, true)).not.toThrow();
    expect(graphOf('within', true, false)).toThrow(/never read/);
    expect(graphOf('kept', true, true)).toThrow(/is kept/);
    expect(graphOf('kept', false, false)).toThrow(/allocated 0 times/);
    expect(graphOf('given', true, true)).toThrow(/allocated 1 times/);
    expect(graphOf('given', false, false)).toThrow(/never read/);
  });

  it('frees at an instant before it allocates at that instant', () => {
    const graph = new TaskGraphBuilder();
    const [one, two] = [graph.addStream(), graph.addStream()];
    const [first, second] = [graph.addBuffer(0), graph.addBuffer(0)];
    graph.addTask({
      streams: [one],
      allocates: [second],
      reads: [second],
      after: [graph.addTask({ streams: [two] })],
    });
    graph.addTask({ streams: [one], allocates: [first], reads: [first] });
    const ledger = new MemoryLedger(4, 1, noLimit);
    const executor = executorOf(graph.compile(), undefined, ledger);
    executor.duration.set([5, 5, 5]);
    executor.bufferBytes.set([70, 80]);
    executor.run(0);
    expect(ledger.peakOf(0).bytes).toBe(80);
    expect(ledger.totalOf(0)).toBe(0);
  });

  it('keeps a buffer until its last reader ends', () => {
    const graph = new TaskGraphBuilder();
    const streams = [graph.addStream(), graph.addStream()];
    const buffer = graph.addBuffer(0);
    const late = graph.addBuffer(0);
    const maker = graph.addTask({ streams: [streams[0]], allocates: [buffer] });
    graph.addTask({ streams: [streams[0]], after: [maker], reads: [buffer] });
    const slow = graph.addTask({ streams: [streams[1]], after: [maker], reads: [buffer] });
    graph.addTask({ streams: [], after: [slow], allocates: [late], reads: [late] });
    const ledger = new MemoryLedger(4, 1, noLimit);
    const executor = executorOf(graph.compile(), undefined, ledger);
    executor.duration.set([1, 1, 5, 1]);
    executor.bufferBytes.set([10, 4]);
    executor.run(0);
    expect(ledger.peakOf(0).bytes).toBe(10);
  });

  it('slows a transfer that runs beside another on the same port, and both end later than alone', () => {
    const fabric = new PortFabric(Float64Array.of(10));
    const [big, small] = [fabric.declare(1), fabric.declare(1)];
    fabric.add(big, 0, 100, 1, 0);
    fabric.add(small, 0, 20, 1, 0);
    const graph = new TaskGraphBuilder();
    const a = graph.addTask({ streams: [graph.addStream()], transfer: big });
    const wait = graph.addTask({ streams: [] });
    const b = graph.addTask({ streams: [graph.addStream()], transfer: small, after: [wait] });
    const executor = executorOf(graph.compile(), fabric);
    executor.duration[wait] = 2;
    executor.run(0);
    expect(executor.end[b]).toBeCloseTo(6, 12);
    expect(executor.end[a]).toBeCloseTo(12, 12);
  });

  it('names the fault when a buffer would leak', () => {
    const graph = new TaskGraphBuilder();
    graph.addTask({ streams: [], allocates: [graph.addBuffer(0)] });
    expect(() => graph.compile()).toThrow('never read');
  });

  const tasksArbitrary = fc.array(
    fc.record({
      streams: fc.uniqueArray(fc.nat(3), { maxLength: 3 }),
      after: fc.uniqueArray(fc.nat(30), { maxLength: 3 }),
      duration: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 9 })),
      bytes: fc.option(fc.integer({ min: 1, max: 50 }), { nil: undefined }),
    }),
    { minLength: 1, maxLength: 30 },
  );

  test.prop([tasksArbitrary], { numRuns: 1000 })(
    'invariant 2: a task starts the moment the last of what it waits for ends, never before',
    (tasks) => {
      const graph = new TaskGraphBuilder();
      for (let i = 0; i < 4; i++) graph.addStream();
      const fabric = new PortFabric(Float64Array.of(3));
      tasks.forEach(({ streams, after, bytes }, i) => {
        let transfer: number | undefined;
        if (bytes !== undefined) {
          transfer = fabric.declare(1);
          fabric.add(transfer, 0, bytes, 1, 0);
        }
        graph.addTask({ streams, after: after.filter((other) => other < i), transfer });
      });
      const compiled = graph.compile();
      const executor = executorOf(compiled, fabric);
      tasks.forEach(({ duration }, i) => (executor.duration[i] = duration));
      const last = executor.run(0);
      const lastOnStream = new Map<number, number>();
      tasks.forEach(({ streams, after, bytes, duration }, task) => {
        const before = after.filter((other) => other < task);
        for (const stream of streams) {
          if (lastOnStream.has(stream)) before.push(lastOnStream.get(stream)!);
          lastOnStream.set(stream, task);
        }
        expect(executor.start[task]).toBe(Math.max(0, ...before.map((other) => executor.end[other])));
        if (bytes === undefined) expect(executor.end[task]).toBe(executor.start[task] + duration);
        else
          expect(executor.end[task]).toBeGreaterThanOrEqual(executor.start[task] + (bytes / 3) * (1 - 1e-9));
        expect(executor.end[task]).toBeLessThanOrEqual(last);
      });
    },
  );
});
