import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { FileError, packageFile, writeWhole } from './files/index.js';
import { missingShards, type StartedSweep } from './open-sweep.js';
import {
  arrayExpression,
  maxArraySize,
  queuedTasks,
  shardCount,
  slurmScript,
  type SlurmOptions,
} from './sweep/index.js';

const MAIN = packageFile('dist/bin/epsim.js');

/** Slurm is not there, or refuses. */
export class SchedulerError extends Error {
  override name = 'SchedulerError';
}

/** What was submitted: the job and its tasks; null where nothing is missing, or all that is missing is queued. */
export interface Submitted {
  job: string;
  tasks: number[];
}

/** The name of a sweep's jobs, by which they are found again. */
export function jobName({ manifest }: StartedSweep): string {
  return `epsim-${manifest.inputs.slice(0, 10)}`;
}

/**
 * Submits the shards of a sweep that are missing and not queued, as one job array.
 * @throws SchedulerError where Slurm is not there or refuses; FileError
 */
export async function submitMissing(sweep: StartedSweep, options: SlurmOptions): Promise<Submitted | null> {
  const queued = await queuedShards(sweep);
  const tasks = [...missingShards(sweep)].filter((index) => !queued.has(index));
  if (tasks.length === 0) return null;
  const limit = maxArraySize(await slurm('scontrol', ['show', 'config']));
  if (limit !== null && tasks.at(-1)! >= limit) {
    const { points } = sweep.manifest;
    throw new SchedulerError(
      `--points-per-shard: found ${shardCount(sweep.manifest)} shards, allowed: at least ` +
        `${Math.ceil(points / limit)}, which makes no more than this cluster's MaxArraySize of ${limit}`,
    );
  }
  const { folder } = sweep;
  const logs = await folder.createLogs();
  const script = join(logs, 'job.sh');
  const command = [process.execPath, MAIN, 'sweep', 'shard', folder.path];
  await writeWhole(script, slurmScript(jobName(sweep), command, join(logs, '%A_%a.log'), options));
  const throttle = options.throttle === undefined ? '' : `%${options.throttle}`;
  const job = await slurm('sbatch', ['--parsable', `--array=${arrayExpression(tasks)}${throttle}`, script]);
  // On a federation of clusters the cluster's name follows the number.
  return { job: job.trim().split(';')[0], tasks };
}

/** Numbers of the shards whose tasks wait or run. */
export async function queuedShards(sweep: StartedSweep): Promise<Set<number>> {
  return queuedTasks(
    await slurm('squeue', ['--noheader', '--array', '--me', `--name=${jobName(sweep)}`, '--format=%K']),
  );
}

/** Milliseconds between two looks at the queue. */
const LOOK_EVERY = 5_000;

/** How often in a row tasks are submitted again without one of them having become whole. */
const MOST_ROUNDS = 3;

/**
 * Waits until every shard is whole; what left the queue without being whole is submitted again.
 * @param onLook called at every look with the shards that are missing, and those that wait or run
 * @throws SchedulerError where tasks fail again and again
 */
export async function waitForShards(
  sweep: StartedSweep,
  options: SlurmOptions,
  onLook: (missing: number, queued: number) => void,
  signal: AbortSignal,
): Promise<void> {
  let rounds = 0;
  let lowest = Infinity;
  for (let idle = false; ;) {
    const queued = await queuedShards(sweep).catch((error: unknown) => {
      // A controller that restarts is away for a while.
      if (error instanceof SchedulerError && lowest < Infinity) return null;
      throw error;
    });
    const missing = [...missingShards(sweep)];
    if (queued !== null) onLook(missing.length, queued.size);
    if (missing.length === 0) return;
    if (missing.length < lowest) [rounds, lowest] = [0, missing.length];
    const lost = queued !== null && missing.some((index) => !queued.has(index));
    // A shared file system may show a new file late: what seems lost is looked at twice.
    if (lost && idle) {
      if (++rounds > MOST_ROUNDS) throw new SchedulerError(failure(sweep, missing));
      await submitMissing(sweep, options);
    }
    idle = lost && !idle;
    await sleep(LOOK_EVERY, undefined, { signal });
  }
}

function failure({ folder }: StartedSweep, missing: readonly number[]): string {
  return (
    `shards ${arrayExpression(missing)} fail again and again; what they print is in ${folder.logs}; ` +
    'what is finished is kept'
  );
}

/** Runs a command of Slurm. @throws SchedulerError */
async function slurm(command: string, args: string[]): Promise<string> {
  try {
    return (await promisify(execFile)(command, args)).stdout;
  } catch (error) {
    const { code, stderr, message } = error as { code?: string; stderr?: string; message: string };
    if (code === 'ENOENT') {
      throw new FileError(
        `${command}: found no such command, allowed: a machine of the cluster that submits jobs, with Slurm's commands ` +
          '(or --executor local, or shards by hand: epsim sweep manifest)',
      );
    }
    throw new SchedulerError(`${command}: ${(stderr ?? '').trim() || message}`);
  }
}
