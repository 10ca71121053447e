import { Tinypool } from 'tinypool';
import { FileError, packageFile, type SharedFiles } from './files/index.js';
import { pointHash, shardName, type StartedSweep } from './open-sweep.js';
import type { PointRecord } from './report/index.js';
import {
  shardAt,
  shardCount,
  ThreadQueue,
  type Manifest,
  type PointThread,
  type Shard,
} from './sweep/index.js';

/** The bundle of sweep-worker.ts, made by tools/build-program.js. */
const WORKER = packageFile('dist/bin/sweep-worker.js');

/** What a worker thread starts from. */
export interface WorkerSetting {
  folder: string;
  manifest: Manifest;
  files: SharedFiles;
}

/** A point, and the shard that its record is kept for. */
export interface PointTask {
  shard: string;
  point: number;
}

/** What became of a batch; `stop` where no other point can be kept either, with the reason. */
export interface BatchOutcome {
  seconds: number;
  stop: string | null;
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
  const pools = Array.from({ length: options.jobs }, () => newPool(workerData));
  const threads = pools.map((pool): PointThread<PointTask> => ({
    async run(points) {
      const { seconds, stop: reason } = (await pool.run(points)) as BatchOutcome;
      if (reason !== null) stop.abort(new FileError(reason));
      signal.throwIfAborted();
      return seconds;
    },
  }));
  try {
    await new SweepWork(sweep, new ThreadQueue(threads, signal), stop, signal, options).run();
  } finally {
    await Promise.all(pools.map((pool) => pool.destroy()));
    if (signal.aborted) await folder.clearUnfinished();
  }
}

/** One thread each, so that points can be given to a thread of choice; the queue of it is ThreadQueue's. */
function newPool(workerData: WorkerSetting): Tinypool {
  return new Tinypool({
    filename: WORKER,
    minThreads: 1,
    maxThreads: 1,
    concurrentTasksPerWorker: Infinity,
    workerData,
  });
}

/** Hands out what is missing, shard by shard, and packs every shard that is whole. */
class SweepWork {
  constructor(
    private readonly sweep: StartedSweep,
    private readonly threads: ThreadQueue<PointTask>,
    private readonly stop: AbortController,
    private readonly signal: AbortSignal,
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
        const task = { shard: name, point: shard.from + i };
        const done = this.threads
          .handOut(task, key)
          .catch((error: unknown) => this.keepCrash(task, hash, error as Error))
          .then(() => this.options.onPoints?.(1, false));
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

  /** Records a point that took its thread with it, as one does that runs out of memory. */
  private async keepCrash({ shard, point }: PointTask, hash: string, error: Error): Promise<void> {
    this.signal.throwIfAborted();
    const { points, folder } = this.sweep;
    const scenario = points.scenarioAt(point);
    const message = `the thread that simulated it ended: ${error.message}`;
    const record: PointRecord = { hash, inputs: null, scenario, policies: [], error: message };
    await folder.keepPoint(shard, hash, JSON.stringify(record));
  }
}

/** What points must have in common to replay the same draws. */
function drawsOf(scenario: unknown): string {
  const { model, cluster, workload, seed } = scenario as Record<string, unknown>;
  return JSON.stringify([model, cluster, workload, seed]);
}
