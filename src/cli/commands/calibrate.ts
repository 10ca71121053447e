import { Command } from '@commander-js/extra-typings';
import { importCommand } from './calibrate/import.js';
import { measureCommand } from './calibrate/measure.js';

export function calibrateCommand() {
  return new Command('calibrate')
    .description('measurements that profiles are made of')
    .addCommand(measureCommand())
    .addCommand(importCommand());
}
