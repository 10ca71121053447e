import { MeasurementError } from '../measurement-error.js';
import { csvColumns } from './csv-table.js';
import { LOW_LATENCY_COLUMNS, NORMAL_COLUMNS } from './deepep-table.js';
import { IMPORT_FORMATS, type ImportFormat } from './import-options.js';
import { MOE_COLUMNS } from './moe-table.js';
import { NCCL_COLUMNS } from './nccl-table.js';

const TABLES: readonly (readonly [ImportFormat, readonly string[]])[] = [
  ['aiconfigurator-moe', MOE_COLUMNS],
  ['aiconfigurator-nccl', NCCL_COLUMNS],
  ['aiconfigurator-deepep', LOW_LATENCY_COLUMNS],
  ['aiconfigurator-deepep', NORMAL_COLUMNS],
];

/** The format that a text looks like. @throws MeasurementError where it looks like none, or there is none */
export function detectFormat(text: string, file: string): ImportFormat {
  if (text.trim() === '') throw new MeasurementError(file, '', 'an empty file', 'measurements');
  if (/^\S*#\s+size\s+count\s|^# nThread /m.test(text) || /^# \wccl-tests version/m.test(text)) {
    return 'nccl-tests';
  }
  if (/\[tuning\] Best |\[rank \d+\] Dispatch bandwidth:/.test(text)) return 'deepep-log';
  // By the share of its columns, so that a table that lacks one is refused for that.
  const present = new Set(csvColumns(text));
  const [best] = TABLES.map(([format, columns]) => ({
    format,
    share: columns.filter((name) => present.has(name)).length / columns.length,
  })).sort((a, b) => b.share - a.share);
  if (best.share > 0.5) return best.format;
  const start = text.trim().split(/\r?\n/)[0].slice(0, 60);
  throw new MeasurementError(
    file,
    'line 1',
    `'${start}', which starts no known format`,
    IMPORT_FORMATS.join(', '),
  );
}
