import { styleText } from 'node:util';
import type { BarStyle } from '../report/index.js';

/** Whether stdout is a terminal that can draw bars; elsewhere results stay the same to the byte. */
export function drawsBars(): boolean {
  return process.stdout.isTTY && process.env.TERM !== 'dumb';
}

/** As wide as the window; in colour where the terminal has it and NO_COLOR does not forbid it. */
export function barStyle(): BarStyle {
  const coloured = process.stdout.hasColors();
  return {
    columns: process.stdout.columns,
    mark: (bar) => (coloured ? styleText('yellow', bar) : bar),
  };
}
