import { missingShards, type StartedSweep } from '../../../open-sweep.js';
import { arrayExpression, shardCount, type SlurmOptions } from '../../../sweep/index.js';
import { jobName, queuedShards, submitMissing, waitForShards } from '../../../submit-sweep.js';
import { merge, untilSignal } from './compute.js';

/** Options of the command line for a cluster. */
export interface SlurmArguments {
  partition?: string;
  time?: string;
  memory?: string;
  cpusPerTask?: number;
  arrayThrottle?: number;
  wait?: true;
}

/** Submits what is missing of a sweep, or writes its table where nothing is. */
export async function onSlurm(sweep: StartedSweep, given: SlurmArguments): Promise<void> {
  const { partition, time, memory, cpusPerTask: cpus = 1, arrayThrottle: throttle } = given;
  const options: SlurmOptions = { partition, time, memory, cpus, throttle };
  if (isWhole(sweep)) return merge(sweep);
  const submitted = await submitMissing(sweep, options);
  if (submitted !== null) {
    console.error(
      `job ${submitted.job}: shards ${arrayExpression(submitted.tasks)}, named ${jobName(sweep)}`,
    );
  }
  if (!given.wait) {
    const { size } = await queuedShards(sweep);
    process.stdout.write(
      `${sweep.folder.path}\n${size} of ${shardCount(sweep.manifest)} shards wait or run. The same command ` +
        'submits what gets lost, and writes the table once nothing is missing.\n',
    );
    return;
  }
  const stopped = `the tasks go on; scancel --name=${jobName(sweep)} ends them, and the same command waits again`;
  let last = '';
  await untilSignal(stopped, (signal) =>
    waitForShards(
      sweep,
      options,
      (missing, queued) => {
        const line = `${missing} of ${shardCount(sweep.manifest)} shards are missing, ${queued} wait or run`;
        if (line !== last) console.error(line);
        last = line;
      },
      signal,
    ),
  );
  await merge(sweep);
}

function isWhole(sweep: StartedSweep): boolean {
  return missingShards(sweep).next().done === true;
}
