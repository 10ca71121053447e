import { PassThrough } from 'node:stream';
import { computeSweep, type SweepOptions } from './compute-sweep.js';
import { writeTable } from './files/index.js';
import { shardName, type StartedSweep } from './open-sweep.js';
import { sweepColumns, sweepRows, type PointRecord } from './report/index.js';
import { shardAt, shardCount } from './sweep/index.js';

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
