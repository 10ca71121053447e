import { Command } from '@commander-js/extra-typings';
import { missingShards, openSweepFolder } from '../../../open-sweep.js';
import { arrayExpression } from '../../../sweep/index.js';

export function missingCommand() {
  return new Command('missing')
    .description(
      'print which shards are not whole, as sbatch --array takes them (0-3,7); nothing where all are',
    )
    .argument('<folder>', "the sweep's folder")
    .option('--lines', 'one number per line, as GNU parallel takes them')
    .action(async (path, { lines }) => {
      const missing = missingShards(await openSweepFolder(path));
      const text = lines ? [...missing].join('\n') : arrayExpression(missing);
      if (text !== '') process.stdout.write(`${text}\n`);
    });
}
