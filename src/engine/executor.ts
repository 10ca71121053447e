import { EventQueue } from './event-queue.js';
import type { Fabric } from './fabric.js';
import type { MemoryLedger } from './memory-ledger.js';
import type { TaskGraph } from './task-graph.js';

/** Priority of the ends of tasks; the network's completions at the same instant come after them. */
const TASK_END = 0;

/**
 * Runs a task graph event by event: a task starts when everything it waits for has ended, takes its
 * duration or its transfer's time, and its end releases others. What ends at an instant ends before
 * anything starts at it, so that memory freed at a moment is free for what is allocated at that moment.
 *
 * Fill `duration` (tasks without a transfer), `bufferBytes` and the fabric's transfers before each `run`;
 * `start` and `end` hold every task's times afterwards. `run` allocates nothing.
 */
export class Executor {
  /** Seconds, by task; ignored for transfers. */
  readonly duration: Float64Array;
  /** What each task's duration is multiplied by; 1 unless the caller says otherwise. */
  readonly slowdown: Float64Array;
  /** Whole bytes, by buffer. */
  readonly bufferBytes: Float64Array;
  /** Seconds at which each task started in the last run. */
  readonly start: Float64Array;
  /** Seconds at which each task ended in the last run. */
  readonly end: Float64Array;
  /**
   * Which round of starts, and of ends, each task's were in, in the last run: all starts of a round come before its ends,
   * and these before the next round. Several rounds may share an instant, where tasks take no time.
   */
  readonly startRound: Int32Array;
  readonly endRound: Int32Array;
  private readonly queue: EventQueue;
  /** What each task still waits for and each buffer's readers to come; at 0 set back for the next run. */
  private readonly blockers: Int32Array;
  private readonly readersLeft: Int32Array;
  private readonly ready: Int32Array;
  private readonly taskOfTransfer: Int32Array;
  private readonly finished: Int32Array;
  private readonly roots: Int32Array;

  constructor(
    readonly graph: TaskGraph,
    readonly fabric: Fabric,
    private readonly ledger: MemoryLedger,
  ) {
    this.duration = new Float64Array(graph.tasks);
    this.slowdown = new Float64Array(graph.tasks).fill(1);
    this.bufferBytes = new Float64Array(graph.buffers);
    this.start = new Float64Array(graph.tasks);
    this.end = new Float64Array(graph.tasks);
    this.startRound = new Int32Array(graph.tasks);
    this.endRound = new Int32Array(graph.tasks);
    this.queue = new EventQueue(Math.max(16, graph.tasks));
    this.blockers = Int32Array.from(graph.blockers);
    this.readersLeft = Int32Array.from(graph.readers);
    this.ready = new Int32Array(graph.tasks);
    this.taskOfTransfer = new Int32Array(fabric.transfers).fill(-1);
    this.finished = new Int32Array(fabric.transfers);
    graph.transferOf.forEach((transfer, task) => {
      if (transfer >= 0) this.taskOfTransfer[transfer] = task;
    });
    this.roots = Int32Array.from(graph.blockers.keys()).filter((task) => graph.blockers[task] === 0);
  }

  /**
   * @param from seconds at which the graph may start
   * @returns seconds at which its last task ends
   */
  run(from: number): number {
    const { graph, queue, ready, roots, fabric, duration, slowdown } = this;
    const { transferOf } = graph;
    let readyCount = roots.length;
    for (let i = 0; i < readyCount; i++) ready[i] = roots[i];
    let now = from;
    let last = from;
    let done = 0;
    let completion = Infinity;
    for (let round = 0; ; round++) {
      let transfers = 0;
      for (let i = 0; i < readyCount; i++) {
        const task = ready[i];
        this.startTask(task, now, round);
        if (transferOf[task] >= 0) {
          fabric.begin(transferOf[task], now);
          transfers++;
        } else {
          queue.push(now + duration[task] * slowdown[task], TASK_END, task);
        }
      }
      if (transfers > 0) completion = fabric.nextCompletion();
      readyCount = 0;

      const end = queue.nextTime();
      now = end < completion ? end : completion;
      if (now === Infinity) break;
      last = now;
      while (queue.nextTime() === now) {
        queue.pop();
        readyCount = this.endTask(queue.payload, now, round, readyCount);
        done++;
      }
      while (completion === now) {
        const count = fabric.complete(now, this.finished);
        for (let i = 0; i < count; i++) {
          readyCount = this.endTask(this.taskOfTransfer[this.finished[i]], now, round, readyCount);
        }
        done += count;
        completion = fabric.nextCompletion();
      }
    }
    if (done !== graph.tasks) throw new Error(`${graph.tasks - done} of ${graph.tasks} tasks never ran`);
    return last;
  }

  private startTask(task: number, now: number, round: number): void {
    const { allocationFirst, allocations, accounts } = this.graph;
    this.start[task] = now;
    this.startRound[task] = round;
    const from = allocationFirst[task];
    const to = allocationFirst[task + 1];
    if (to > from) this.ledger.allocateAll(allocations, from, to, accounts, this.bufferBytes, now);
  }

  private endTask(task: number, now: number, round: number, readyCount: number): number {
    const { graph, blockers, ready, readersLeft } = this;
    const { freeFirst, frees, readFirst, reads, successorFirst, successors } = graph;
    this.end[task] = now;
    this.endRound[task] = round;
    const first = freeFirst[task];
    const until = freeFirst[task + 1];
    if (until > first) this.ledger.freeAll(frees, first, until, graph.accounts, this.bufferBytes);
    for (let i = readFirst[task]; i < readFirst[task + 1]; i++) {
      const buffer = reads[i];
      if (--readersLeft[buffer] > 0) continue;
      readersLeft[buffer] = graph.readers[buffer];
      this.ledger.free(graph.accounts[buffer], this.bufferBytes[buffer]);
    }
    for (let i = successorFirst[task]; i < successorFirst[task + 1]; i++) {
      const next = successors[i];
      if (--blockers[next] > 0) continue;
      blockers[next] = graph.blockers[next];
      ready[readyCount++] = next;
    }
    return readyCount;
  }
}
