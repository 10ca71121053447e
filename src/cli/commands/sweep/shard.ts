import { Command } from '@commander-js/extra-typings';
import { openSweepFolder } from '../../../open-sweep.js';
import { shardAt, shardCount } from '../../../sweep/index.js';
import { UsageError } from '../../input-error.js';
import { compute } from './compute.js';
import { jobsOption, wholeNumber } from './options.js';

/** Variables in which schedulers say which task of an array a process is: Slurm, Kubernetes. */
const TASK_VARIABLES = ['SLURM_ARRAY_TASK_ID', 'JOB_COMPLETION_INDEX'];

export function shardCommand() {
  return new Command('shard')
    .description('compute shards of a sweep that was set up; those that are whole are left alone')
    .argument('<folder>', "the sweep's folder")
    .argument('[number...]', `numbers of the shards (default: what ${TASK_VARIABLES.join(' or ')} says)`)
    .addOption(jobsOption().default(1, '1'))
    .action(async (path, numbers, { jobs }) => {
      const sweep = await openSweepFolder(path);
      const { manifest } = sweep;
      const shards = askedFor(numbers).map((index) => {
        if (index < shardCount(manifest)) return shardAt(manifest, index);
        throw new UsageError(`shard: found ${index}, allowed: 0 to ${shardCount(manifest) - 1}`);
      });
      const points = shards.reduce((sum, { from, to }) => sum + to - from, 0);
      await compute(sweep, { jobs, shards: shards.map(({ index }) => index), points });
    });
}

function askedFor(numbers: readonly string[]): number[] {
  if (numbers.length > 0) return numbers.map(wholeNumber('shard', 0));
  const variable = TASK_VARIABLES.find((name) => process.env[name] !== undefined);
  if (variable !== undefined) return [wholeNumber(variable, 0)(process.env[variable]!)];
  throw new UsageError(
    `shard: found no number, allowed: one or more, or one of the variables ${TASK_VARIABLES.join(', ')}`,
  );
}
