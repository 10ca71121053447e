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
export const COLOURS = ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000'];

/** What every chart has in common. */
export function frame({ title, subtitle }: ChartOptions): Chart {
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    title: { text: title, subtitle, anchor: 'start', fontSize: 14, subtitleFontSize: 12, offset: 14 },
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
      legend: { symbolOpacity: 1, labelFontSize: 11, titleFontSize: 12, labelLimit: 320, symbolLimit: 60 },
      view: { stroke: null },
    },
  };
}

/** A column's name as an axis shows it. */
export function titleOf(column: string): string {
  return column.replace(/_(s|bytes)$/, '').replaceAll('_', ' ');
}

/** How numbers of a column are written: 12.3ms, 34.5GB, 1.07. */
function styleOf(column: string): { format: string; unit: string } {
  if (column.endsWith('_s')) return { format: '.3~s', unit: 's' };
  if (column.endsWith('_bytes')) return { format: '.3~s', unit: 'B' };
  return { format: '.3~r', unit: '' };
}

/** A column's numbers as an axis or a legend labels them. */
export function labelsOf(column: string): { labelExpr: string } {
  const { format, unit } = styleOf(column);
  return { labelExpr: `format(datum.value, '${format}') + '${unit}'` };
}

/** A number of a column as text: an expression of Vega over the field `value`. */
export function textOf(column: string): string {
  const { format, unit } = styleOf(column);
  return `format(datum.value, '${format}') + '${unit}'`;
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
