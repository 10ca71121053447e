import { ScenarioError, show } from '../../scenario/index.js';
import type { Cell } from '../rows.js';

/** Rows of a sweep's table, by column. */
export type TableRow = Readonly<Record<string, Cell>>;

/** Which rows a chart is made of. */
export interface Selection {
  /** Columns that the sweep varies, replications (`seed`) apart. */
  swept: readonly string[];
  /** Columns that the chart shows as axes or colours. */
  shown: readonly string[];
  /** Columns that it draws. */
  needed: readonly string[];
  /** All columns of the table, which may have more than the rows that were read. */
  columns: readonly string[];
  /** Columns that are held at a value. */
  where: Readonly<Record<string, string>>;
}

/** Several replications of one setting. */
export interface Group {
  /** Values of the shown columns, and the policy. */
  key: TableRow;
  rows: TableRow[];
}

/**
 * Rows in groups that differ in nothing but the seed. A chart that averaged over other settings would show none
 * of them, so every column that varies must be shown or held.
 * @param file the table's name, for messages
 * @throws ScenarioError
 */
export function groupRows(rows: readonly TableRow[], selection: Selection, file: string): Group[] {
  const { swept, shown, needed, columns, where } = selection;
  for (const column of [...shown, ...needed, ...Object.keys(where)]) {
    if (columns.includes(column)) continue;
    throw new ScenarioError(file, column, 'no such column', columns.join(', '));
  }
  const held = rows.filter((row) =>
    Object.entries(where).every(([column, value]) => String(row[column]) === value),
  );
  if (held.length === 0) {
    const asked = Object.entries(where).map(([column, value]) => `${column}=${value}`);
    throw new ScenarioError(
      file,
      '',
      `no row where ${asked.join(' and ')}`,
      valuesOf(rows, Object.keys(where)),
    );
  }
  for (const column of swept) {
    if (shown.includes(column)) continue;
    const values = distinct(held, column);
    if (values.length <= 1) continue;
    throw new ScenarioError(
      file,
      column,
      `${values.length} values that the chart does not show`,
      `one of them, as --where ${column}=${String(values[0])} (${values.slice(0, 8).map(String).join(', ')})`,
    );
  }
  const groups = new Map<string, Group>();
  for (const row of held) {
    const key = Object.fromEntries(
      [...shown, 'policy_kind', 'policy_index'].map((name) => [name, row[name]]),
    );
    const text = JSON.stringify(key);
    const group = groups.get(text);
    if (group) group.rows.push(row);
    else groups.set(text, { key, rows: [row] });
  }
  return [...groups.values()];
}

function valuesOf(rows: readonly TableRow[], columns: readonly string[]): string {
  return columns
    .map((column) => `${column}: ${distinct(rows, column).slice(0, 12).map(show).join(', ')}`)
    .join('; ');
}

function distinct(rows: readonly TableRow[], column: string): Cell[] {
  return [...new Set(rows.map((row) => row[column]))];
}

/** Numbers of a column, without rows that have none. */
export function numbersOf(rows: readonly TableRow[], column: string): number[] {
  return rows.map((row) => row[column]).filter((value) => typeof value === 'number');
}
