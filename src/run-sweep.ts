import { dirname, resolve } from 'node:path';
import { PassThrough } from 'node:stream';
import { Tinypool } from 'tinypool';
import {
  FileCache,
  FileError,
  hashOf,
  readJson,
  SweepFolder,
  writeTable,
  writeWhole,
  type SharedFiles,
} from './files/index.js';
import { sweepColumns, sweepRows, type PointRecord } from './report/index.js';
import { computedBy, openFiles } from './run.js';
import { ScenarioError } from './scenario/index.js';
import {
  defaultPointsPerShard,
  parseManifest,
  parseSweep,
  shardAt,
  shardCount,
  SweepPoints,
  type Manifest,
  type Shard,
} from './sweep/index.js';

/** A sweep whose points are known and whose files are open. */
export interface OpenedSweep {
  manifest: Manifest;
  points: SweepPoints;
  files: FileCache;
}

/** A sweep in its folder. */
export interface StartedSweep extends OpenedSweep {
  folder: SweepFolder;
}

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

/**
 * Opens a sweep's file.
 * @param pointsPerShard null: as `defaultPointsPerShard` says
 * @throws ScenarioError, TraceError or FileError
 */
export async function openSweep(file: string, pointsPerShard: number | null = null): Promise<OpenedSweep> {
  return prepareSweep(await readJson(file), file, pointsPerShard);
}

/**
 * Checks a sweep and opens the files that its scenarios name.
 * @param file the sweep's name, for messages, whose folder paths start at
 * @param pointsPerShard null: as `defaultPointsPerShard` says
 * @throws ScenarioError, TraceError or FileError
 */
export async function prepareSweep(
  input: unknown,
  file: string,
  pointsPerShard: number | null = null,
): Promise<OpenedSweep> {
  const sweep = parseSweep(input, file);
  const scenarioFile =
    typeof sweep.scenario === 'string' ? resolve(dirname(file), sweep.scenario) : resolve(file);
  const scenario = withoutSchema(
    typeof sweep.scenario === 'string' ? await readJson(scenarioFile) : sweep.scenario,
    scenarioFile,
  );
  const inline = withoutSchema({ ...sweep, scenario }, file) as Manifest['sweep'];
  const points = new SweepPoints(inline, scenario, file);
  const baseDir = dirname(scenarioFile);
  const files = await openProbedFiles(points, scenarioFile, baseDir);
  const listed = await files.list();
  const [version, v8] = computedBy();
  const manifest: Manifest = {
    schema: 'epsim/sweep-manifest@1',
    version,
    v8,
    name: sweep.name ?? (scenario as { name?: string }).name ?? 'sweep',
    inputs: hashOf([version, v8, JSON.stringify(inline), ...listed.map(({ sha256 }) => sha256)]),
    file: scenarioFile,
    baseDir,
    files: listed,
    points: points.count,
    pointsPerShard: pointsPerShard ?? defaultPointsPerShard(points.count),
    sweep: inline,
  };
  return { manifest, points, files };
}

/**
 * Sets a sweep up in a folder of its own, or goes on with the one that is there.
 * @param parent folder that the sweep's own folder is made in
 * @param newShards whether to divide it anew where it is there already
 * @throws FileError or ScenarioError
 */
export async function startSweep(
  opened: OpenedSweep,
  parent: string,
  newShards: boolean,
): Promise<StartedSweep> {
  const { name, inputs } = opened.manifest;
  const folder = new SweepFolder(resolve(parent, `${slugOf(name)}-${inputs.slice(0, 10)}`));
  await folder.create();
  if (!newShards) {
    const there = await readManifest(folder).catch(() => null);
    if (there?.inputs === inputs) return { ...opened, manifest: there, folder };
  }
  await writeWhole(folder.manifest, `${JSON.stringify(opened.manifest, null, 2)}\n`);
  return { ...opened, folder };
}

/**
 * Opens the folder of a sweep that was set up, here or on another machine.
 * @throws ScenarioError or FileError where it is none, or where versions or files differ from those of its start
 */
export async function openSweepFolder(path: string): Promise<StartedSweep> {
  const folder = new SweepFolder(resolve(path));
  const manifest = await readManifest(folder);
  const [version, v8] = computedBy();
  if (manifest.version !== version || manifest.v8 !== v8) {
    throw new ScenarioError(
      folder.manifest,
      'version',
      `a sweep of epsim ${manifest.version} on V8 ${manifest.v8}`,
      `one of this epsim, ${version} on V8 ${v8}: others may compute other digits`,
    );
  }
  const points = new SweepPoints(manifest.sweep, manifest.sweep.scenario, manifest.file);
  const files = await openProbedFiles(points, manifest.file, manifest.baseDir);
  for (const { path, sha256 } of await files.list()) {
    if (manifest.files.some((file) => file.path === path && file.sha256 === sha256)) continue;
    throw new FileError(`${path}: found other contents than when the sweep was set up, allowed: the same`);
  }
  return { manifest, points, files, folder };
}

async function readManifest(folder: SweepFolder): Promise<Manifest> {
  return parseManifest(await readJson(folder.manifest), folder.manifest);
}

/**
 * What is known of a sweep without its files: for those who read its result, of this version or another.
 * @throws ScenarioError or FileError
 */
export async function describeSweep(
  path: string,
): Promise<{ manifest: Manifest; points: SweepPoints; folder: SweepFolder }> {
  const folder = new SweepFolder(resolve(path));
  const manifest = await readManifest(folder);
  const points = new SweepPoints(manifest.sweep, manifest.sweep.scenario, manifest.file);
  if (folder.hasTable()) return { manifest, points, folder };
  throw new FileError(
    `${folder.table.parquet}: found no such file, allowed: the table of a finished sweep (epsim sweep status says how far it is)`,
  );
}

/** Opens every file that a value of the axes names, so that none is found missing in the middle of a sweep. */
async function openProbedFiles(points: SweepPoints, file: string, baseDir: string): Promise<FileCache> {
  const files = new FileCache();
  for (const scenario of points.probes(file)) {
    await openFiles(scenario, file, baseDir, files).catch((error: unknown) => {
      // A model that can't be is its points' failure.
      if (!(error instanceof ScenarioError)) throw error;
    });
  }
  return files;
}

function withoutSchema(value: unknown, file: string): object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ScenarioError(file, '', JSON.stringify(value).slice(0, 80), 'an object');
  }
  return Object.fromEntries(Object.entries(value).filter(([key]) => key !== '$schema'));
}

function slugOf(name: string): string {
  const slug = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 60)
    .replace(/^-|-$/g, '');
  return slug || 'sweep';
}

/** Name of a shard: its number, and the hash of all that its points depend on. */
export function shardName({ inputs }: Manifest, { index, from, to }: Shard): string {
  return `${String(index).padStart(6, '0')}-${hashOf([inputs, `${from}-${to}`]).slice(0, 16)}`;
}

/** Name of a point: the hash of its scenario, of the files that the sweep names, and of what computes it. */
export function pointHash({ files }: Manifest, scenario: unknown): string {
  return hashOf([...computedBy(), JSON.stringify(scenario), ...files.map(({ sha256 }) => sha256)]).slice(
    0,
    32,
  );
}

/** Numbers of the shards that are not whole. */
export function* missingShards({
  manifest,
  folder,
}: Pick<StartedSweep, 'manifest' | 'folder'>): Generator<number> {
  for (let index = 0; index < shardCount(manifest); index++) {
    if (!folder.hasShard(shardName(manifest, shardAt(manifest, index)))) yield index;
  }
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
  const pool = new Tinypool({
    filename: new URL('./sweep-worker.js', import.meta.url).href,
    minThreads: options.jobs,
    maxThreads: options.jobs,
    concurrentTasksPerWorker: QUEUED,
    workerData,
  });
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([stop.signal, options.signal]) : stop.signal;
  const work = new SweepWork(sweep, pool, signal, options);
  try {
    await work.run();
  } catch (error) {
    stop.abort(error);
    throw error;
  } finally {
    await pool.destroy();
    if (signal.aborted) await folder.clearUnfinished();
  }
}

/** Points that a thread has at a time, so that it need not wait for the next one. */
const QUEUED = 2;

class SweepWork {
  /** Points that a thread has or will have. */
  private readonly open = new Set<Promise<void>>();

  constructor(
    private readonly sweep: StartedSweep,
    private readonly pool: Tinypool,
    private readonly signal: AbortSignal,
    private readonly options: SweepOptions,
  ) {}

  async run(): Promise<void> {
    const { manifest, folder } = this.sweep;
    // Shards overlap, so that no thread waits for the last point of one.
    let previous: Promise<void> = Promise.resolve();
    const shards = this.options.shards ?? Array(shardCount(manifest)).keys();
    for (const index of shards) {
      const shard = shardAt(manifest, index);
      if (folder.hasShard(shardName(manifest, shard))) {
        this.options.onPoints?.(shard.to - shard.from, true);
        await previous;
        this.options.onShard?.(index);
        continue;
      }
      const packed = await this.startShard(shard);
      await previous;
      previous = packed().then(() => this.options.onShard?.(index));
      previous.catch(() => undefined);
    }
    await previous;
  }

  /** Hands out the missing points of a shard. @returns what waits for them and packs the shard */
  private async startShard(shard: Shard): Promise<() => Promise<void>> {
    const { manifest, folder, points } = this.sweep;
    const name = shardName(manifest, shard);
    const hashes = Array.from({ length: shard.to - shard.from }, (_, i) =>
      pointHash(manifest, points.scenarioAt(shard.from + i)),
    );
    const finished = await folder.finishedPoints(name);
    const missing = hashes.flatMap((hash, i) => (finished.has(hash) ? [] : [i]));
    this.options.onPoints?.(hashes.length - missing.length, true);
    const compute = async (indices: readonly number[]) => {
      const tasks: Promise<void>[] = [];
      for (const i of indices) {
        await this.threadNear();
        tasks.push(this.handOut({ shard: name, point: shard.from + i }, hashes[i]));
      }
      return tasks;
    };
    let tasks = await compute(missing);
    return async () => {
      for (;;) {
        await Promise.all(tasks);
        const damaged = await folder.packShard(name, hashes);
        if (damaged.length === 0) return;
        tasks = await compute(damaged);
      }
    };
  }

  /** Waits until a thread is free, or will be next. */
  private async threadNear(): Promise<void> {
    while (this.open.size >= QUEUED * this.options.jobs) await Promise.race(this.open);
    this.signal.throwIfAborted();
  }

  private handOut(task: PointTask, hash: string): Promise<void> {
    const done = this.simulate(task, hash).finally(() => this.open.delete(done));
    done.catch(() => undefined);
    this.open.add(done);
    return done;
  }

  private async simulate(task: PointTask, hash: string): Promise<void> {
    const outcome = await (this.pool.run(task) as Promise<PointOutcome>).catch((error: unknown) => {
      this.signal.throwIfAborted();
      return this.keepCrash(task, hash, error as Error);
    });
    if ('stop' in outcome) throw new FileError(outcome.stop);
    this.options.onPoints?.(1, false);
  }

  /** Records a point that took its thread with it, as one does that runs out of memory. */
  private async keepCrash({ shard, point }: PointTask, hash: string, error: Error): Promise<PointOutcome> {
    const scenario = this.sweep.points.scenarioAt(point);
    const message = `the thread that simulated it ended: ${error.message}`;
    const record: PointRecord = { hash, inputs: null, scenario, policies: [], error: message };
    await this.sweep.folder.keepPoint(shard, hash, recordLine(record));
    return { failed: true };
  }
}

/** How a record is kept: a line of JSON. */
export function recordLine(record: PointRecord): string {
  return `${JSON.stringify(record)}\n`;
}

/** What a sweep's table holds. */
export interface MergedSweep {
  rows: number;
  failed: number;
  /** The first failure. */
  error: { point: number; message: string } | null;
}

/**
 * Computes what is missing of a sweep and writes its table, shard by shard while others are computed.
 * @throws FileError where records or the table can't be kept; DOMException `AbortError` where it was stopped
 */
export async function runSweep(
  sweep: StartedSweep,
  options: Omit<SweepOptions, 'shards' | 'onShard'>,
): Promise<MergedSweep> {
  const whole = new PassThrough({ objectMode: true });
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([stop.signal, options.signal]) : stop.signal;
  const merged = mergeSweep(sweep, whole);
  merged.catch((error: unknown) => stop.abort(error));
  try {
    await computeSweep(sweep, { ...options, signal, onShard: (index) => whole.write(index) });
    whole.end();
  } catch (error) {
    whole.destroy(error as Error);
    await merged.catch(() => undefined);
    throw error;
  }
  return merged;
}

/**
 * Writes the table of a sweep, as Parquet and CSV, in the order of its points.
 * @param whole numbers of all shards in their order, each when it is whole; default: all are
 * @throws FileError where a shard is missing or damaged, or where the table can't be written
 */
export async function mergeSweep(
  { manifest, points, folder }: StartedSweep,
  whole: AsyncIterable<number> | Iterable<number> = Array(shardCount(manifest)).keys(),
): Promise<MergedSweep> {
  const merged: MergedSweep = { rows: 0, failed: 0, error: null };
  async function* batches() {
    for await (const index of whole) {
      const shard = shardAt(manifest, index);
      const records = (await folder.readShard(
        shardName(manifest, shard),
        shard.to - shard.from,
      )) as PointRecord[];
      yield records.flatMap((record, i) => {
        const point = shard.from + i;
        if (record.error !== null) {
          merged.failed++;
          merged.error ??= { point, message: record.error };
        }
        return sweepRows(point, record, points.places, points.valuesAt(point));
      });
    }
  }
  merged.rows = await writeTable(folder.table, sweepColumns(points.places), batches());
  await folder.clearLeftovers();
  return merged;
}

/** How far a sweep is. */
export interface SweepStatus {
  shards: { all: number; whole: number; begun: number };
  points: { all: number; finished: number };
  merged: boolean;
}

export async function sweepStatus({ manifest, folder }: StartedSweep): Promise<SweepStatus> {
  const all = shardCount(manifest);
  const status: SweepStatus = {
    shards: { all, whole: 0, begun: 0 },
    points: { all: manifest.points, finished: 0 },
    merged: folder.hasTable(),
  };
  for (let index = 0; index < all; index++) {
    const shard = shardAt(manifest, index);
    const name = shardName(manifest, shard);
    if (folder.hasShard(name)) {
      status.shards.whole++;
      status.points.finished += shard.to - shard.from;
      continue;
    }
    const { size } = await folder.finishedPoints(name);
    if (size > 0) status.shards.begun++;
    status.points.finished += size;
  }
  return status;
}
