import { EventQueue } from './event-queue.js';
import type { Fabric } from './fabric.js';

/** Priority of the ends of tasks of given duration; transfers that end at the same instant come after them. */
const TASK_END = 0;

/** No task. */
const NONE = -1;

/**
 * Tasks that are launched while others run: for work of which nobody knows beforehand what comes next, as loads on
 * demand behind loads on suspicion. Where all is known, a `TaskGraph` and its `Executor` do the same.
 *
 * A task belongs to a stream, which runs what is launched on it one at a time in that order; it takes the seconds that
 * it is launched with, or the time of its transfer. It may be launched again once it has ended. What ends at an instant
 * ends before anything starts at it.
 */
export class LiveTasks {
  /** Seconds; where the clock stands. */
  now = 0;

  private readonly stream: number[] = [];
  private readonly fabricOf: number[] = [];
  private readonly transferOf: number[] = [];
  /** Seconds that each task was launched with. */
  private readonly seconds: number[] = [];
  private readonly isLaunched: boolean[] = [];
  /** The task launched next on the same stream. */
  private readonly following: number[] = [];
  private readonly running: number[] = [];
  private readonly last: number[] = [];
  private readonly queue = new EventQueue();
  private readonly taskOfTransfer: number[][];
  private readonly ended: number[] = [];
  private finished = new Int32Array(0);

  /** @param fabrics networks that tasks may send on; all their transfers are declared before a task is launched */
  constructor(private readonly fabrics: readonly Fabric[] = []) {
    this.taskOfTransfer = fabrics.map(() => []);
  }

  addStream(): number {
    this.last.push(NONE);
    return this.running.push(NONE) - 1;
  }

  /** @param sends the fabric (its index) and its transfer that the task carries out; default: it takes given seconds */
  addTask(stream: number, sends?: { fabric: number; transfer: number }): number {
    this.fabricOf.push(sends?.fabric ?? NONE);
    this.transferOf.push(sends?.transfer ?? NONE);
    this.seconds.push(0);
    this.isLaunched.push(false);
    this.following.push(NONE);
    const task = this.stream.push(stream) - 1;
    if (sends) this.taskOfTransfer[sends.fabric][sends.transfer] = task;
    return task;
  }

  /**
   * Puts a task at the end of its stream.
   * @param seconds that it takes; of no account where it carries out a transfer
   */
  launch(task: number, seconds = 0): void {
    if (this.isLaunched[task]) throw new Error(`task ${task} is launched again before it ended`);
    const stream = this.stream[task];
    this.isLaunched[task] = true;
    this.seconds[task] = seconds;
    this.following[task] = NONE;
    if (this.running[stream] === NONE) this.start(task);
    else this.following[this.last[stream]] = task;
    this.last[stream] = task;
  }

  /**
   * Goes to the next instant at which something ends.
   * @param onEnd called for every task that ends there, by ends of given durations first; it may launch others
   * @returns false where nothing runs
   */
  advance(onEnd: (task: number) => void): boolean {
    const { queue, fabrics, ended } = this;
    let next = queue.nextTime();
    for (const fabric of fabrics) next = Math.min(next, fabric.nextCompletion());
    if (next === Infinity) return false;
    this.now = next;
    ended.length = 0;
    while (queue.nextTime() === next) {
      queue.pop();
      ended.push(queue.payload);
    }
    fabrics.forEach((fabric, index) => {
      if (this.finished.length < fabric.transfers) this.finished = new Int32Array(fabric.transfers);
      while (fabric.nextCompletion() === next) {
        const count = fabric.complete(next, this.finished);
        for (let i = 0; i < count; i++) ended.push(this.taskOfTransfer[index][this.finished[i]]);
      }
    });
    for (const task of ended) {
      this.isLaunched[task] = false;
      this.running[this.stream[task]] = NONE;
      if (this.following[task] !== NONE) this.start(this.following[task]);
    }
    for (const task of ended) onEnd(task);
    return true;
  }

  private start(task: number): void {
    this.running[this.stream[task]] = task;
    if (this.transferOf[task] === NONE) this.queue.push(this.now + this.seconds[task], TASK_END, task);
    else this.fabrics[this.fabricOf[task]].begin(this.transferOf[task], this.now);
  }
}
