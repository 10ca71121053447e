import { MeasurementError } from '../measurement-error.js';
import type { Measurements, PublishedRow } from '../measurements.js';
import type { CsvRow } from './csv-table.js';
import type { ImportOptions } from './import-options.js';

/** Columns that say where a row comes from. */
export const ORIGIN_COLUMNS = ['framework', 'version', 'device', 'kernel_source'];

/** GPUs that a file's name may speak of, as whole words. */
const NAMED_GPU = /(?<![a-z0-9])(a100|b200|gb200|h100|h200|h20|h800)(?![a-z0-9])/gi;

/** What was timed, with the framework and its version: another version is another kernel. */
export function kernelOf(row: CsvRow, ...more: string[]): string {
  return [row.text('framework'), row.text('version'), row.text('kernel_source'), ...more].join(' ');
}

/**
 * Measurements of an aiconfigurator table (Apache-2.0).
 * @param table the rows that were read, kept or not
 * @param versioned column that names what the column version is of
 * @throws MeasurementError for several devices in one table
 */
export function aiconfiguratorMeasurements(
  table: readonly CsvRow[],
  rows: PublishedRow[],
  { file, onNote }: ImportOptions,
  versioned: 'framework' | 'kernel_source' = 'framework',
): Measurements {
  const device = oneDevice(table);
  const named = [...file.matchAll(NAMED_GPU)].at(-1)?.[0];
  if (named !== undefined && !new RegExp(`(?<![a-z0-9])${named}(?![a-z0-9])`, 'i').test(device)) {
    // Some published files of one GPU are copies of another's.
    onNote?.(`the file's name says ${named}, its device column ${device}: taken as ${device}`);
  }
  const software: Record<string, string> = {};
  for (const row of table) {
    const [name, version] = [row.text(versioned), row.text('version')];
    const known = software[name]?.split(', ') ?? [];
    if (!known.includes(version)) software[name] = [...known, version].join(', ');
  }
  return {
    schema: 'epsim/measurements@1',
    source: { name: 'ai-dynamo/aiconfigurator', version: 'unknown', licence: 'Apache-2.0' },
    device: { name: device, kind: 'gpu' },
    software,
    rows,
  };
}

function oneDevice(table: readonly CsvRow[]): string {
  const device = table[0].text('device');
  const other = table.find((row) => row.text('device') !== device);
  if (other !== undefined) {
    other.refuse('device', `'${other.text('device')}' after '${device}'`, 'one device in a file');
  }
  return device;
}

/** @throws MeasurementError where nothing is left, or a single row, which no curve can be fitted to */
export function severalRows<R>(rows: readonly R[], file: string): readonly R[] {
  if (rows.length > 1) return rows;
  const found = rows.length === 0 ? 'no row that can be used' : 'one row only';
  throw new MeasurementError(file, '', found, 'at least 2 rows');
}
