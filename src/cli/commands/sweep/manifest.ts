import { Command } from '@commander-js/extra-typings';
import { openSweep, startSweep } from '../../../open-sweep.js';
import { shardCount } from '../../../sweep/index.js';
import { outOption, pointsPerShardOption } from './options.js';

export function manifestCommand() {
  return new Command('manifest')
    .description('set a sweep up for a cluster and print its folder; nothing is computed')
    .argument('<sweep>', 'sweep file')
    .addOption(outOption())
    .addOption(pointsPerShardOption())
    .action(async (file, { out, pointsPerShard }) => {
      const opened = await openSweep(file, pointsPerShard);
      const { folder, manifest } = await startSweep(opened, out, pointsPerShard !== undefined);
      process.stdout.write(`${folder.path}\n`);
      console.error(
        `${manifest.points} points in shards 0 to ${shardCount(manifest) - 1}; each is computed by: ` +
          `epsim sweep shard ${folder.path} <number>`,
      );
    });
}
