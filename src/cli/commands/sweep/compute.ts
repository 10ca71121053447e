import { availableParallelism } from 'node:os';
import { computeSweep, type SweepOptions } from '../../../compute-sweep.js';
import { type StartedSweep } from '../../../open-sweep.js';
import { mergeSweep, runSweep, type MergedSweep } from '../../../run-sweep.js';
import { Interrupted } from '../../input-error.js';
import { sweepProgress } from '../../progress.js';

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
type Signal = keyof typeof EXIT_CODES;

/**
 * Works until it is done or until a signal comes, upon which it stops in order; a second signal ends it at once.
 * @param stopped what to say then
 * @throws Interrupted
 */
export async function untilSignal(
  stopped: string,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  let code: number | null = null;
  const onSignal = (signal: Signal) => {
    code = EXIT_CODES[signal];
    stop.abort();
  };
  const signals = Object.keys(EXIT_CODES) as Signal[];
  for (const signal of signals) process.once(signal, onSignal);
  try {
    await work(stop.signal);
  } catch (error) {
    throw code === null ? error : new Interrupted(stopped, code);
  } finally {
    for (const signal of signals) process.removeListener(signal, onSignal);
  }
}

/**
 * Computes what is missing of some shards, with progress on stderr.
 * @param points that these shards have
 * @throws Interrupted
 */
export async function compute(
  sweep: StartedSweep,
  { jobs = availableParallelism(), shards, points }: { jobs?: number; shards: number[]; points: number },
): Promise<void> {
  await withProgress(sweep, points, (signal, onPoints) =>
    computeSweep(sweep, { jobs, shards, onPoints, signal }),
  );
}

/** Computes what is missing of a sweep and writes its table, with progress on stderr. @throws Interrupted */
export async function computeAndMerge(sweep: StartedSweep, jobs = availableParallelism()): Promise<void> {
  let merged: MergedSweep | null = null;
  await withProgress(sweep, sweep.manifest.points, async (signal, onPoints) => {
    merged = await runSweep(sweep, { jobs, onPoints, signal });
  });
  if (merged !== null) sayMerged(sweep, merged);
}

/** Writes the table of a sweep whose shards are whole; exit code 1 where points failed. */
export async function merge(sweep: StartedSweep): Promise<void> {
  sayMerged(sweep, await mergeSweep(sweep));
}

async function withProgress(
  { folder }: StartedSweep,
  points: number,
  work: (signal: AbortSignal, onPoints: SweepOptions['onPoints']) => Promise<void>,
): Promise<void> {
  const stopped = `stopped; what is finished is kept in ${folder.path}, and the same command goes on from there`;
  const progress = sweepProgress(points);
  try {
    await untilSignal(stopped, (signal) => work(signal, progress.onPoints));
  } finally {
    progress.stop();
  }
}

function sayMerged({ manifest, folder }: StartedSweep, { rows, failed, error }: MergedSweep): void {
  const { parquet, csv } = folder.table;
  process.stdout.write(`${manifest.points} points, ${rows} rows:\n  ${parquet}\n  ${csv}\n`);
  if (error === null) return;
  process.stdout.write(
    `${failed} points failed; they stand in the table with their error. The first: point ${error.point}: ${error.message}\n`,
  );
  process.exitCode = 1;
}
