import { Command, Option } from '@commander-js/extra-typings';
import Table from 'cli-table3';
import { stringify } from 'csv-stringify/sync';
import { queryTable, type QueryResult } from '../../../files/index.js';
import { describeSweep } from '../../../open-sweep.js';

export function queryCommand() {
  return new Command('query')
    .description("ask a finished sweep's table in SQL (DuckDB's); it is called points")
    .argument('<folder>', "the sweep's folder")
    .argument(
      '<sql>',
      `e.g. "SELECT batch, avg(speedup) FROM points WHERE policy_kind = 'llep' GROUP BY batch"`,
    )
    .addOption(
      new Option('--format <format>', 'how to print it').choices(['table', 'csv', 'json']).default('table'),
    )
    .action(async (path, sql, { format }) => {
      const { folder } = await describeSweep(path);
      process.stdout.write(`${render(await queryTable(folder.table.parquet, sql), format)}\n`);
    });
}

function render({ columns, rows }: QueryResult, format: 'table' | 'csv' | 'json'): string {
  if (format === 'csv') return stringify([columns, ...rows]).trimEnd();
  if (format === 'json') {
    const objects = rows.map((row) => Object.fromEntries(row.map((value, i) => [columns[i], value])));
    return JSON.stringify(objects, null, 2);
  }
  const grid = new Table({ head: columns, style: { head: [], border: [] } });
  for (const row of rows) grid.push(row.map(shown));
  return grid.toString();
}

function shown(value: unknown): string {
  if (value === null) return '–';
  if (typeof value === 'number') return String(Number(value.toPrecision(6)));
  return typeof value === 'string' ? value : JSON.stringify(value);
}
