import { Command } from '@commander-js/extra-typings';
import { importCommand } from './trace/import.js';
import { recordCommand } from './trace/record.js';

export function traceCommand() {
  return new Command('trace')
    .description('import and record routing')
    .addCommand(importCommand())
    .addCommand(recordCommand());
}
