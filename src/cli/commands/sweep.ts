import { Command } from '@commander-js/extra-typings';
import { manifestCommand } from './sweep/manifest.js';
import { mergeCommand } from './sweep/merge.js';
import { missingCommand } from './sweep/missing.js';
import { plotCommand } from './sweep/plot.js';
import { queryCommand } from './sweep/query.js';
import { shardCommand } from './sweep/shard.js';
import { startCommand } from './sweep/start.js';
import { statusCommand } from './sweep/status.js';

export function sweepCommand() {
  return new Command('sweep')
    .description('run a scenario over axes: epsim sweep sweep.json; what is finished is never computed again')
    .usage('<sweep.json> [options] | <command> …')
    .addCommand(startCommand(), { isDefault: true })
    .addCommand(manifestCommand())
    .addCommand(shardCommand())
    .addCommand(statusCommand())
    .addCommand(missingCommand())
    .addCommand(mergeCommand())
    .addCommand(queryCommand())
    .addCommand(plotCommand());
}
