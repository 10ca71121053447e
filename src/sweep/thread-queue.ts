import { WaitingPoints } from './waiting-points.js';

/** A thread that works on points. */
export interface PointThread<Point> {
  /**
   * Works on points in their order.
   * @returns seconds that it took
   * @throws where the thread ended before it was done, as one does that runs out of memory; the next call starts another
   */
  run(points: Point[]): Promise<number>;
}

/** Batches that a thread has at a time, so that it need not wait for the next one. */
const QUEUED = 2;

/** A batch is to take about so long, so that handing it over costs little beside it. */
const BATCH_SECONDS = 0.1;
const LARGEST_BATCH = 16;

/** Points that are looked over for those that suit a thread: at least, and for every thread. */
const LOOKED_OVER = 256;
const LOOKED_OVER_PER_THREAD = 64;

interface Handed<Point> {
  point: Point;
  resolve: () => void;
  reject: (error: unknown) => void;
}

/** Hands points out to threads, in batches, and finds out which of them it was that ended a thread. */
export class ThreadQueue<Point> {
  private readonly waiting: WaitingPoints<Handed<Point>>;
  /** Points of batches whose thread ended: each is worked on once more, alone. */
  private readonly suspects: Handed<Point>[] = [];
  /** Batches in work, by thread. */
  private readonly batches: number[];
  /** Threads that work on a suspect, and are given nothing else meanwhile. */
  private readonly isAlone: boolean[];
  private secondsPerPoint = Infinity;
  private more = true;
  private wake: (() => void)[] = [];

  /** @param signal gives all up that waits or fails; what is in work is for the caller to stop */
  constructor(
    private readonly threads: readonly PointThread<Point>[],
    private readonly signal: AbortSignal,
  ) {
    this.waiting = new WaitingPoints(Math.max(LOOKED_OVER, LOOKED_OVER_PER_THREAD * threads.length));
    this.batches = threads.map(() => 0);
    this.isAlone = threads.map(() => false);
    signal.addEventListener('abort', () => this.giveUp());
  }

  /** Waits until another point may be handed out. */
  async room(): Promise<void> {
    while (this.waiting.full && !this.signal.aborted) {
      await new Promise<void>((resolve) => this.wake.push(resolve));
    }
    this.signal.throwIfAborted();
  }

  /**
   * @param key of what the point shares with others
   * @returns what ends when the point is done
   * @throws what its thread ended with, where it had been given this point alone; the signal's reason
   */
  handOut(point: Point, key: string): Promise<void> {
    const done = new Promise<void>((resolve, reject) => {
      this.waiting.add({ point, resolve, reject }, key);
    });
    if (this.signal.aborted) this.giveUp();
    else this.fill();
    return done;
  }

  /** No other points come, but those that are found damaged. */
  handedOutAll(): void {
    this.more = false;
    this.fill();
  }

  private fill(): void {
    for (let round = 0; round < QUEUED; round++) {
      for (const thread of this.threads.keys()) {
        if (this.batches[thread] > round || this.isAlone[thread]) continue;
        const suspect = this.batches[thread] === 0 ? this.suspects.shift() : undefined;
        if (suspect !== undefined) void this.work(thread, [suspect], true);
        else if (this.suspects.length === 0) {
          const batch = this.takeBatch(thread);
          if (batch.length > 0) void this.work(thread, batch, false);
        }
      }
    }
  }

  private takeBatch(thread: number): Handed<Point>[] {
    const { waiting, threads } = this;
    const fair = Math.ceil(waiting.size / (threads.length * QUEUED));
    const most = Math.min(fair, LARGEST_BATCH, Math.max(1, Math.floor(BATCH_SECONDS / this.secondsPerPoint)));
    const batch: Handed<Point>[] = [];
    while (batch.length < most) {
      const next = waiting.takeFor(thread, this.more);
      if (next === null) break;
      batch.push(next);
    }
    return batch;
  }

  private async work(thread: number, batch: Handed<Point>[], isAlone: boolean): Promise<void> {
    this.batches[thread]++;
    this.isAlone[thread] = isAlone;
    this.wakeUp();
    try {
      const seconds = await this.threads[thread].run(batch.map(({ point }) => point));
      this.secondsPerPoint = seconds / batch.length;
      for (const { resolve } of batch) resolve();
    } catch (error) {
      if (isAlone || this.signal.aborted) {
        for (const { reject } of batch) reject(this.signal.aborted ? this.signal.reason : error);
      } else this.suspects.push(...batch);
    } finally {
      this.batches[thread]--;
      this.isAlone[thread] = false;
      if (!this.signal.aborted) this.fill();
    }
  }

  private giveUp(): void {
    for (const { reject } of [...this.waiting.clear(), ...this.suspects.splice(0)])
      reject(this.signal.reason);
    this.wakeUp();
  }

  private wakeUp(): void {
    for (const resolve of this.wake.splice(0)) resolve();
  }
}
