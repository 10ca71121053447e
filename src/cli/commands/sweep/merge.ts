import { Command } from '@commander-js/extra-typings';
import { missingShards, openSweepFolder } from '../../../open-sweep.js';
import { arrayExpression } from '../../../sweep/index.js';
import { UsageError } from '../../input-error.js';
import { merge } from './compute.js';

export function mergeCommand() {
  return new Command('merge')
    .description('write the table of a sweep whose shards are whole')
    .argument('<folder>', "the sweep's folder")
    .action(async (path) => {
      const sweep = await openSweepFolder(path);
      const missing = arrayExpression(missingShards(sweep));
      if (missing !== '') {
        throw new UsageError(
          `${sweep.folder.path}: found no shards ${missing}, allowed: all of them; compute them first`,
        );
      }
      await merge(sweep);
    });
}
