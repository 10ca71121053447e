import { ticks } from 'd3-array';
import type { SweptPlace } from '../../sweep/index.js';
import { ScenarioError } from '../../scenario/index.js';
import type { Group, TableRow } from './selection.js';

/** A Vega-Lite specification: plain data, with its values inside. */
export type Chart = Record<string, unknown>;

/** What a chart shows. */
export interface ChartOptions {
  title: string;
  /** What is held: the rows that the chart is made of. */
  subtitle: string;
  x: string;
  y: string | null;
  /** Column whose mean over the replications is shown. */
  value: string;
  /** Whether axes of numbers rise by ratios. */
  log: boolean;
}

/** One way to draw groups of rows. */
export interface ChartKind {
  kind: string;
  /** One line for the command line. */
  summary: string;
  /** Columns that it tells apart. @param swept what the sweep varies, seeds apart */
  shown(options: ChartOptions, swept: readonly SweptPlace[]): readonly string[];
  /** Columns that it needs besides. */
  columns(options: ChartOptions): string[];
  /** @throws ScenarioError where the rows don't make such a chart */
  draw(groups: readonly Group[], options: ChartOptions): Chart;
}

/** Colours that stay apart for people who see fewer of them (Okabe and Ito, 2008). */
export const COLOURS = ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#767676'];

/** Letters of a title and of a line below it that fit above a plot. */
const TITLE_LETTERS = 60;
const SUBTITLE_LETTERS = 72;

/** What every chart has in common. @param notes lines below the title, after what is held */
export function frame({ title, subtitle }: ChartOptions, notes: readonly string[] = []): Chart {
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title: {
      text: wrapped(title, TITLE_LETTERS),
      subtitle: [subtitle, ...notes].flatMap((line) => wrapped(line, SUBTITLE_LETTERS)),
      anchor: 'start',
      fontSize: 14,
      subtitleFontSize: 12,
      offset: 14,
    },
    background: 'white',
    padding: 16,
    config: {
      font: 'Helvetica, Arial, sans-serif',
      axis: {
        labelFontSize: 11,
        titleFontSize: 12,
        titlePadding: 10,
        labelOverlap: 'greedy',
        gridColor: '#e6e6e6',
      },
      legend: { symbolOpacity: 1, labelFontSize: 11, titleFontSize: 12, labelLimit: 320 },
      view: { stroke: null },
    },
  };
}

/** A column's name as an axis shows it. */
export function titleOf(column: string): string {
  return column.replace(/_(s|bytes)$/, '').replaceAll('_', ' ');
}

/** Units of bytes, largest first. */
const BYTES = [
  ['TiB', 2 ** 40],
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
] as const;

/** A number of a column as text, 12.3ms, 34.5 GiB, 1.07: an expression of Vega over the field `value`. */
export function textOf(column: string): string {
  if (column.endsWith('_s')) return `format(datum.value, '.3~s') + 's'`;
  if (!column.endsWith('_bytes')) return `format(datum.value, '.3~r')`;
  return BYTES.reduceRight(
    (smaller, [unit, size]) =>
      `abs(datum.value) >= ${size} ? format(datum.value / ${size}, '.4~r') + ' ${unit}' : ${smaller}`,
    `format(datum.value, '.4~r') + ' B'`,
  );
}

/**
 * A column's numbers as an axis or a legend labels them.
 * @param range smallest and largest of what is shown; bytes have their ticks at whole units
 */
export function labelsOf(
  column: string,
  range: readonly [number, number],
  log = false,
): { labelExpr: string; values?: number[] } {
  const labelExpr = textOf(column);
  return column.endsWith('_bytes') ? { labelExpr, values: byteTicks(range, log) } : { labelExpr };
}

/** Ticks that are round in the unit that they are labelled in. */
function byteTicks([low, high]: readonly [number, number], log: boolean): number[] {
  const unit = BYTES.find(([, size]) => high >= size)?.[1] ?? 1;
  if (!log || high < 4 * low) return ticks(low / unit, high / unit, 6).map((tick) => tick * unit);
  const first = Math.ceil(Math.log2(low));
  return Array.from({ length: Math.floor(Math.log2(high)) - first + 1 }, (_, i) => 2 ** (first + i));
}

/** Smallest and largest. */
export function rangeOf(values: readonly number[]): [number, number] {
  return [Math.min(...values), Math.max(...values)];
}

/** A legend below the plot, with as many columns as its names leave room for. */
export function legendBelow(names: readonly string[]): Chart {
  const longest = Math.max(0, ...names.map((name) => name.length));
  return {
    orient: 'bottom',
    title: null,
    labelLimit: 520,
    symbolLimit: 0,
    columns: Math.max(1, Math.min(4, Math.floor(560 / (6 * longest + 30)))),
  };
}

/** @throws ScenarioError where more things are to be told apart than eyes can */
export function checkApart(things: string, names: readonly string[], most: number): void {
  if (names.length <= most) return;
  throw new ScenarioError(
    '--where',
    '',
    `${names.length} ${things}`,
    `at most ${most}, which can be told apart: hold columns with --where <column>=<value>, or choose a --policy`,
  );
}

/** A text in lines; none where it is empty. */
function wrapped(text: string, letters: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ').filter(Boolean)) {
    const longer = lines.length === 0 ? word : `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && longer.length <= letters) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

/** A short name for each policy: its kind, with its number where several are of one kind. */
export function policyNames(groups: readonly Group[]): (row: TableRow) => string {
  const numbers = new Map<string, Set<number>>();
  for (const { key } of groups) {
    const kind = String(key.policy_kind);
    numbers.set(kind, (numbers.get(kind) ?? new Set()).add(Number(key.policy_index)));
  }
  return ({ policy_kind, policy_index }) => {
    const kind = String(policy_kind);
    return numbers.get(kind)!.size > 1 ? `${kind} (policies[${Number(policy_index)}])` : kind;
  };
}

/** @throws ScenarioError where groups are of several policies */
export function checkOnePolicy(groups: readonly Group[]): void {
  const name = policyNames(groups);
  const names = [...new Set(groups.map(({ key }) => name(key)))];
  if (names.length === 1) return;
  throw new ScenarioError('--policy', '', `rows of ${names.join(', ')}`, 'one of them');
}
