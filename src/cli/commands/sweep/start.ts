import { Command, Option } from '@commander-js/extra-typings';
import { openSweep, startSweep } from '../../../open-sweep.js';
import { UsageError } from '../../input-error.js';
import { computeAndMerge } from './compute.js';
import { jobsOption, outOption, pointsPerShardOption, wholeNumber } from './options.js';
import { onSlurm, type SlurmArguments } from './slurm.js';

/** Options that only a cluster understands. */
const OF_SLURM = ['partition', 'time', 'memory', 'cpusPerTask', 'arrayThrottle', 'wait'] as const;

export function startCommand() {
  return new Command('start')
    .description('compute what is missing of a sweep and write its table (the default command)')
    .argument('<sweep>', 'sweep file')
    .addOption(outOption())
    .addOption(jobsOption())
    .addOption(pointsPerShardOption())
    .addOption(
      new Option('--executor <name>', 'local: on worker threads here; slurm: as a job array')
        .choices(['local', 'slurm'])
        .default('local'),
    )
    .option('--partition <name>', 'slurm: where tasks run')
    .option('--time <limit>', 'slurm: limit of one task, as sbatch takes it (30, 1:30:00)')
    .option('--memory <size>', 'slurm: memory of one task, as sbatch takes it (4G)')
    .option('--cpus-per-task <n>', 'slurm: cores of one task (default: 1)', wholeNumber('--cpus-per-task', 1))
    .option('--array-throttle <n>', 'slurm: tasks that run at once', wholeNumber('--array-throttle', 1))
    .option('--wait', 'slurm: wait until all is done, submit again what was lost, and write the table')
    .action(async (file, { out, jobs, pointsPerShard, executor, ...cluster }) => {
      checkExecutor(executor, jobs, cluster);
      const opened = await openSweep(file, pointsPerShard);
      const sweep = await startSweep(opened, out, pointsPerShard !== undefined);
      if (executor === 'slurm') return onSlurm(sweep, cluster);
      return computeAndMerge(sweep, jobs);
    });
}

function checkExecutor(executor: string, jobs: number | undefined, cluster: SlurmArguments): void {
  if (executor === 'slurm') {
    if (jobs !== undefined)
      throw new UsageError('--jobs: found with --executor slurm, allowed: --cpus-per-task');
    return;
  }
  const given = OF_SLURM.find((name) => cluster[name] !== undefined);
  if (given === undefined) return;
  const option = given.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  throw new UsageError(`--${option}: found with --executor ${executor}, allowed: with --executor slurm`);
}
