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
    columns: windowColumns(),
    ascii: isAscii(process.env),
    mark: (bar) => (coloured ? styleText('yellow', bar) : bar),
  };
}

/** Columns of the window; terminals that know none say 0. */
export function windowColumns(): number {
  return process.stdout.columns || 80;
}

/** Whether the locale says that the terminal shows ASCII only; one that says nothing is taken for UTF-8. */
function isAscii({ LC_ALL, LC_CTYPE, LANG }: NodeJS.ProcessEnv): boolean {
  const locale = [LC_ALL, LC_CTYPE, LANG].find((name) => name !== undefined && name !== '');
  return locale !== undefined && !/utf-?8/i.test(locale);
}
