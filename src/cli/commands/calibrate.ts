import { Command } from '@commander-js/extra-typings';
import { fitCommand } from './calibrate/fit.js';
import { importCommand } from './calibrate/import.js';
import { measureCommand } from './calibrate/measure.js';
import { showCommand } from './calibrate/show.js';

export function calibrateCommand() {
  return new Command('calibrate')
    .description('profiles, and the measurements that they are made of')
    .addCommand(measureCommand())
    .addCommand(importCommand())
    .addCommand(fitCommand())
    .addCommand(showCommand());
}
