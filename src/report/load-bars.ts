import type { Recording, Result } from '../simulation/index.js';
import { nameCell } from './cells.js';

/** Eighths of a line, from empty to full. */
const BARS = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/** Widest name; longer ones end in an ellipsis. */
const WIDEST_NAME = 32;
const NARROWEST_NAME = 8;

/** How bars are drawn on a terminal. */
export interface BarStyle {
  /** Columns of the terminal. */
  columns: number;
  /** Marks the fullest bar of a policy, as by a colour, where its bars differ. */
  mark: (bar: string) => string;
}

/**
 * A line of small bars for every policy: the copies that each GPU computes, all on one scale. Where a terminal is too
 * narrow for a column per GPU, neighbours share one, which shows the fullest of them.
 */
export function loadBars(result: Result, recording: Recording, { columns, mark }: BarStyle): string {
  const loads = recording.policies.map((policy) =>
    policy.loads[0].map((_, gpu) => policy.loads.reduce((sum, layer) => sum + layer[gpu], 0)),
  );
  const largest = Math.max(...loads.flat());
  const names = result.policies.map(nameCell);
  const nameWidth = Math.max(
    NARROWEST_NAME,
    Math.min(WIDEST_NAME, Math.floor(columns / 3), Math.max(...names.map((name) => name.length))),
  );
  const together = Math.ceil(recording.gpus / Math.max(1, columns - nameWidth - 4));
  const lines = loads.map((own, i) => {
    const bars = grouped(own, together);
    const fullest = Math.max(...bars);
    const even = Math.min(...bars) === fullest;
    const drawn = bars.map((load) => {
      const eighths = largest > 0 ? Math.ceil((load / largest) * (BARS.length - 1)) : 0;
      return load === fullest && !even ? mark(BARS[eighths]) : BARS[eighths];
    });
    return `  ${cut(names[i], nameWidth).padEnd(nameWidth)}  ${drawn.join('')}`;
  });
  const title =
    together === 1
      ? 'Copies by GPU, mean per step, one bar per GPU'
      : `Copies by GPU, mean per step, one bar per ${together} GPUs (their fullest)`;
  return [`${cut(title, columns)}`, ...lines].join('\n');
}

function grouped(loads: readonly number[], together: number): number[] {
  const groups: number[] = [];
  for (let from = 0; from < loads.length; from += together) {
    groups.push(Math.max(...loads.slice(from, from + together)));
  }
  return groups;
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, width - 1)}…`;
}
