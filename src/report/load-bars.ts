import type { Recording, Result } from '../simulation/index.js';
import { nameCell } from './cells.js';

/** From nothing to the largest load: nothing, then eighths of a line, or signs that are darker and darker. */
const BARS = ['·', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII_BARS = ['_', '.', ':', '-', '=', '+', '*', '#', '@'];

/** Widest name; longer ones end in an ellipsis. */
const WIDEST_NAME = 32;
const NARROWEST_NAME = 8;

/** Columns from which on a bar's smallest and largest load stand beside the bars. */
const ENOUGH_FOR_NUMBERS = 60;

/** How bars are drawn on a terminal. */
export interface BarStyle {
  /** Columns of the terminal. */
  columns: number;
  /** Whether it shows no more than ASCII. */
  ascii: boolean;
  /** Marks the fullest bar of a policy, as by a colour, where its bars differ. */
  mark: (bar: string) => string;
}

/**
 * A line of small bars for every policy: the copies that GPUs compute, the fullest of every layer and step first, all
 * on one scale. Sums by GPU would be even where another GPU is the fullest in every layer. Where a terminal is too
 * narrow for a column per GPU, neighbours share one, which shows the fullest of them.
 */
export function loadBars(result: Result, recording: Recording, { columns, ascii, mark }: BarStyle): string {
  const levels = ascii ? ASCII_BARS : BARS;
  const loads = recording.policies.map(({ rankedLoads }) => rankedLoads);
  const largest = Math.max(...loads.flat());
  const names = result.policies.map(nameCell);
  const nameWidth = Math.max(
    NARROWEST_NAME,
    Math.min(WIDEST_NAME, Math.floor(columns / 3), Math.max(...names.map((name) => name.length))),
  );
  const ranges = columns < ENOUGH_FOR_NUMBERS ? loads.map(() => '') : loads.map(rangeText);
  const beside = Math.max(...ranges.map((range) => range.length));
  const together = Math.ceil(recording.gpus / Math.max(1, columns - nameWidth - 4 - beside));
  const cut = (text: string, width: number) =>
    text.length <= width ? text : `${text.slice(0, width - 1)}${ascii ? '~' : '…'}`;
  const lines = loads.map((own, i) => {
    const bars = grouped(own, together);
    const fullest = Math.max(...bars);
    const even = Math.min(...bars) === fullest;
    const drawn = bars.map((load) => {
      const bar = levels[levelOf(load, largest, levels.length - 1)];
      return load === fullest && !even ? mark(bar) : bar;
    });
    return `  ${cut(names[i], nameWidth).padEnd(nameWidth)}  ${drawn.join('')}${ranges[i]}`;
  });
  const title = 'Copies per GPU, the fullest of every layer and step first (means)';
  return [cut(together === 1 ? title : `${title}, ${together} a bar`, columns), ...lines].join('\n');
}

/** Nothing is 0, and no load is drawn as nothing. */
function levelOf(load: number, largest: number, levels: number): number {
  return load > 0 ? Math.max(1, Math.round((load / largest) * levels)) : 0;
}

/** What bars of eight steps can't tell apart. */
function rangeText(ranked: readonly number[]): string {
  const [most, least] = [ranked[0], ranked.at(-1)!].map((load) => Math.round(load).toLocaleString('en'));
  return most === least ? `  ${most}` : `  ${most} to ${least}`;
}

function grouped(loads: readonly number[], together: number): number[] {
  const groups: number[] = [];
  for (let from = 0; from < loads.length; from += together) {
    groups.push(Math.max(...loads.slice(from, from + together)));
  }
  return groups;
}
