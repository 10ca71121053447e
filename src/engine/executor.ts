import { EventQueue } from './event-queue.js';
import type { Fabric } from './fabric.js';
import type { MemoryLedger } from './memory-ledger.js';
import type { TaskGraph } from './task-graph.js';

/** The ends of tasks and the network's completions; at one instant, tasks end first. */
const TASK_END = 0;
const FABRIC_COMPLETION = 1;

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
  /** Whole bytes, by buffer. */
  readonly bufferBytes: Float64Array;
  /** Seconds at which each task started in the last run. */
  readonly start: Float64Array;
  /** Seconds at which each task ended in the last run. */
  readonly end: Float64Array;
  /** Events handled since construction. */
  events = 0;

  private readonly queue: EventQueue;
  private readonly blockers: Int32Array;
  private readonly readersLeft: Int32Array;
  private readonly ready: Int32Array;
  private readonly taskOfTransfer: Int32Array;
  private readonly finished: Int32Array;
  private readonly roots: Int32Array;
  private wake = 0;
  private wakeTime = Infinity;

  constructor(
    readonly graph: TaskGraph,
    private readonly fabric: Fabric,
    private readonly ledger: MemoryLedger,
  ) {
    this.duration = new Float64Array(graph.tasks);
    this.bufferBytes = new Float64Array(graph.buffers);
    this.start = new Float64Array(graph.tasks);
    this.end = new Float64Array(graph.tasks);
    this.queue = new EventQueue(Math.max(16, graph.tasks));
    this.blockers = new Int32Array(graph.tasks);
    this.readersLeft = new Int32Array(graph.buffers);
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
    const { graph, queue, blockers, ready, roots, fabric } = this;
    blockers.set(graph.blockers);
    this.readersLeft.set(graph.readers);
    queue.clear();
    this.wakeTime = Infinity;
    let readyCount = roots.length;
    ready.set(roots);
    let now = from;
    let done = 0;
    for (;;) {
      let transfers = 0;
      for (let i = 0; i < readyCount; i++) {
        const task = ready[i];
        this.startTask(task, now);
        const transfer = graph.transferOf[task];
        if (transfer >= 0) {
          fabric.begin(transfer, now);
          transfers++;
        } else {
          queue.push(now + this.duration[task], TASK_END, task);
        }
      }
      if (transfers > 0) this.scheduleWake();
      readyCount = 0;
      if (!queue.pop()) break;
      now = queue.time;
      do {
        this.events++;
        const payload = queue.payload;
        if (payload >= 0) {
          readyCount = this.endTask(payload, now, readyCount);
          done++;
        } else if (payload === this.wake) {
          const count = fabric.complete(now, this.finished);
          for (let i = 0; i < count; i++) {
            readyCount = this.endTask(this.taskOfTransfer[this.finished[i]], now, readyCount);
            done++;
          }
          this.wakeTime = Infinity;
          this.scheduleWake();
        }
      } while (queue.nextTime() === now && queue.pop());
    }
    if (done !== graph.tasks) throw new Error(`${graph.tasks - done} of ${graph.tasks} tasks never ran`);
    return now;
  }

  /** Keeps one valid wake-up in the queue: negative payloads are wake-ups, of which only the last counts. */
  private scheduleWake(): void {
    const next = this.fabric.nextCompletion();
    if (next === this.wakeTime || next === Infinity) return;
    this.wakeTime = next;
    this.wake = this.wake <= -0x3fffffff ? -1 : this.wake - 1;
    this.queue.push(next, FABRIC_COMPLETION, this.wake);
  }

  private startTask(task: number, now: number): void {
    const { graph } = this;
    this.start[task] = now;
    const { allocationFirst, allocations, accounts } = graph;
    for (let i = allocationFirst[task]; i < allocationFirst[task + 1]; i++) {
      const buffer = allocations[i];
      this.ledger.allocate(accounts[buffer], this.bufferBytes[buffer], now);
    }
  }

  private endTask(task: number, now: number, readyCount: number): number {
    const { graph, blockers, ready, readersLeft } = this;
    this.end[task] = now;
    const { readFirst, reads, successorFirst, successors } = graph;
    for (let i = readFirst[task]; i < readFirst[task + 1]; i++) {
      const buffer = reads[i];
      if (--readersLeft[buffer] === 0) this.ledger.free(graph.accounts[buffer], this.bufferBytes[buffer]);
    }
    for (let i = successorFirst[task]; i < successorFirst[task + 1]; i++) {
      const next = successors[i];
      if (--blockers[next] === 0) ready[readyCount++] = next;
    }
    return readyCount;
  }
}
