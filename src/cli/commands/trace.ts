import { Command } from '@commander-js/extra-typings';
import { compareCommand } from './trace/compare.js';
import { fitCommand } from './trace/fit.js';
import { importCommand } from './trace/import.js';
import { inspectCommand } from './trace/inspect.js';
import { recordCommand } from './trace/record.js';

export function traceCommand() {
  return new Command('trace')
    .description('recorded routing: import it, look at it, write it, fit a twin to it')
    .addCommand(importCommand())
    .addCommand(inspectCommand())
    .addCommand(compareCommand())
    .addCommand(recordCommand())
    .addCommand(fitCommand());
}
