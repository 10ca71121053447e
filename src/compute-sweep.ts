import { EventEmitter, once } from 'node:events';
import { Tinypool } from 'tinypool';
import { FileError, type SharedFiles } from './files/index.js';
import { pointHash, shardName, type StartedSweep } from './open-sweep.js';
import type { PointRecord } from './report/index.js';
import { shardAt, shardCount, WaitingPoints, type Manifest, type Shard } from './sweep/index.js';

/** What a worker thread starts from. */
export interface WorkerSetting {
  folder: string;
  manifest: Manifest;
  files: SharedFiles;
}

/** What a worker thread is asked for: to simulate a point and to keep its record. */
export interface PointTask {
  shard: string;
  point: number;
}

/** What became of it; `stop` where no other point can be kept either, with the reason. */
export type PointOutcome = { failed: boolean } | { stop: string };

/** How a record is kept: a line of JSON. */
export function recordLine(record: PointRecord): string {
  return `${JSON.stringify(record)}\n`;
}

/** How to work on a sweep. */
export interface SweepOptions {
  /** Worker threads. */
  jobs: number;
  /** Shards to compute; default: all. */
  shards?: Iterable<number>;
  /** Called with points that are done: computed now, or kept from before. */
  onPoints?: (count: number, kept: boolean) => void;
  /** Called when a shard is whole; shards come in the order of `shards`. */
  onShard?: (index: number) => void;
  /** Stops the work; what is finished stays. */
  signal?: AbortSignal;
}

/**
 * Computes what is missing of a sweep, point by point on worker threads.
 * @throws FileError where records can't be kept; DOMException `AbortError` where it was stopped
 */
export async function computeSweep(sweep: StartedSweep, options: SweepOptions): Promise<void> {
  const { manifest, folder, files } = sweep;
  const workerData: WorkerSetting = { folder: folder.path, manifest, files: await files.share() };
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([stop.signal, options.signal]) : stop.signal;
  const threads = new SweepThreads(sweep, options.jobs, workerData, signal);
  try {
    await new SweepWork(sweep, threads, stop, options).run();
  } finally {
    await threads.end();
    if (signal.aborted) await folder.clearUnfinished();
  }
}

/** Points that a thread has at a time, so that it need not wait for the next one. */
const QUEUED = 2;

/** Points that are looked over for one that suits a thread: at least, and for every thread. */
const LOOKED_OVER = 256;
const LOOKED_OVER_PER_THREAD = 64;

/** A point that waits for a thread. */
interface Handed {
  task: PointTask;
  hash: string;
  resolve: () => void;
  reject: (error: unknown) => void;
}

/** Worker threads, and the points that wait for them. */
class SweepThreads {
  private readonly pools: Tinypool[];
  private readonly busy: number[];
  private readonly waiting: WaitingPoints<Handed>;
  private readonly events = new EventEmitter();
  private more = true;

  constructor(
    private readonly sweep: StartedSweep,
    jobs: number,
    workerData: WorkerSetting,
    private readonly signal: AbortSignal,
  ) {
    this.pools = Array.from(
      { length: jobs },
      () =>
        new Tinypool({
          filename: new URL('./sweep-worker.js', import.meta.url).href,
          minThreads: 1,
          maxThreads: 1,
          concurrentTasksPerWorker: QUEUED,
          workerData,
        }),
    );
    this.busy = this.pools.map(() => 0);
    this.waiting = new WaitingPoints(Math.max(LOOKED_OVER, LOOKED_OVER_PER_THREAD * jobs));
    signal.addEventListener('abort', () => this.giveUp());
  }

  /** Waits until another point may be handed out. */
  async room(): Promise<void> {
    while (this.waiting.full) await once(this.events, 'taken', { signal: this.signal });
    this.signal.throwIfAborted();
  }

  /**
   * @param key of what the point shares with others
   * @returns what ends when its record is kept
   */
  handOut(task: PointTask, hash: string, key: string): Promise<void> {
    const done = new Promise<void>((resolve, reject) => {
      this.waiting.add({ task, hash, resolve, reject }, key);
    });
    if (this.signal.aborted) this.giveUp();
    else this.fill();
    return done;
  }

  /** No other points come, but those whose records turn out damaged. */
  handedOutAll(): void {
    this.more = false;
    this.fill();
  }

  async end(): Promise<void> {
    await Promise.all(this.pools.map((pool) => pool.destroy()));
  }

  private fill(): void {
    for (let round = 0; round < QUEUED; round++) {
      this.pools.forEach((pool, thread) => {
        if (this.busy[thread] > round) return;
        const next = this.waiting.takeFor(thread, this.more);
        if (next !== null) void this.simulate(pool, thread, next);
      });
    }
  }

  private async simulate(pool: Tinypool, thread: number, handed: Handed): Promise<void> {
    this.busy[thread]++;
    this.events.emit('taken');
    try {
      const outcome = await (pool.run(handed.task) as Promise<PointOutcome>).catch((error: unknown) => {
        this.signal.throwIfAborted();
        return this.keepCrash(handed, error as Error);
      });
      if ('stop' in outcome) throw new FileError(outcome.stop);
      handed.resolve();
    } catch (error) {
      handed.reject(error);
    } finally {
      this.busy[thread]--;
      if (!this.signal.aborted) this.fill();
    }
  }

  /** Records a point that took its thread with it, as one does that runs out of memory. */
  private async keepCrash({ task, hash }: Handed, error: Error): Promise<PointOutcome> {
    const { points, folder } = this.sweep;
    const scenario = points.scenarioAt(task.point);
    const message = `the thread that simulated it ended: ${error.message}`;
    const record: PointRecord = { hash, inputs: null, scenario, policies: [], error: message };
    await folder.keepPoint(task.shard, hash, recordLine(record));
    return { failed: true };
  }

  private giveUp(): void {
    for (const { reject } of this.waiting.clear()) reject(this.signal.reason);
  }
}

/** Hands out what is missing, shard by shard, and packs every shard that is whole. */
class SweepWork {
  constructor(
    private readonly sweep: StartedSweep,
    private readonly threads: SweepThreads,
    private readonly stop: AbortController,
    private readonly options: SweepOptions,
  ) {}

  async run(): Promise<void> {
    const { manifest, folder } = this.sweep;
    const { options, threads } = this;
    // Shards are handed out while those before them are computed, and end in their order.
    let ended: Promise<void> = Promise.resolve();
    const shards = options.shards ?? Array(shardCount(manifest)).keys();
    try {
      for (const index of shards) {
        const shard = shardAt(manifest, index);
        const kept = folder.hasShard(shardName(manifest, shard));
        if (kept) options.onPoints?.(shard.to - shard.from, true);
        const packed = kept ? Promise.resolve() : (await this.startShard(shard))();
        const before = ended;
        ended = Promise.all([packed, before]).then(() => options.onShard?.(index));
        ended.catch((error: unknown) => this.stop.abort(error));
      }
      threads.handedOutAll();
      await ended;
    } catch (error) {
      this.stop.abort(error);
      throw error;
    }
  }

  /** Hands out the missing points of a shard. @returns what waits for them and packs the shard */
  private async startShard(shard: Shard): Promise<() => Promise<void>> {
    const { manifest, folder, points } = this.sweep;
    const name = shardName(manifest, shard);
    const listed = Array.from({ length: shard.to - shard.from }, (_, i) => {
      const scenario = points.scenarioAt(shard.from + i);
      return { hash: pointHash(manifest, scenario), key: drawsOf(scenario) };
    });
    const finished = await folder.finishedPoints(name);
    const missing = listed.flatMap(({ hash }, i) => (finished.has(hash) ? [] : [i]));
    this.options.onPoints?.(listed.length - missing.length, true);
    const compute = async (indices: readonly number[]) => {
      const tasks: Promise<void>[] = [];
      for (const i of indices) {
        await this.threads.room();
        const { hash, key } = listed[i];
        const kept = this.threads.handOut({ shard: name, point: shard.from + i }, hash, key);
        const done = kept.then(() => this.options.onPoints?.(1, false));
        done.catch(() => undefined);
        tasks.push(done);
      }
      return tasks;
    };
    let tasks = await compute(missing);
    return async () => {
      for (;;) {
        await Promise.all(tasks);
        const hashes = listed.map(({ hash }) => hash);
        const damaged = await folder.packShard(name, hashes);
        if (damaged.length === 0) return;
        tasks = await compute(damaged);
      }
    };
  }
}

/** What points must have in common to replay the same draws. */
function drawsOf(scenario: unknown): string {
  const { model, cluster, workload, seed } = scenario as Record<string, unknown>;
  return JSON.stringify([model, cluster, workload, seed]);
}
