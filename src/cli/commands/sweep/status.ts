import { Command, Option } from '@commander-js/extra-typings';
import { openSweepFolder } from '../../../open-sweep.js';
import { sweepStatus } from '../../../run-sweep.js';

export function statusCommand() {
  return new Command('status')
    .description('print how far a sweep is')
    .argument('<folder>', "the sweep's folder")
    .addOption(new Option('--format <format>', 'how to print it').choices(['text', 'json']).default('text'))
    .action(async (path, { format }) => {
      const status = await sweepStatus(await openSweepFolder(path));
      if (format === 'json') {
        process.stdout.write(`${JSON.stringify(status)}\n`);
        return;
      }
      const { shards, points, merged } = status;
      process.stdout.write(
        `${shards.whole} of ${shards.all} shards are whole, ${shards.begun} begun\n` +
          `${points.finished} of ${points.all} points are finished\n` +
          (merged ? 'The table is written.\n' : 'The table is not written yet.\n'),
      );
    });
}
