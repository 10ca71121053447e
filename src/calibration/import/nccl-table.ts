import type { CollectiveRow, Measurements } from '../measurements.js';
import { aiconfiguratorMeasurements, ORIGIN_COLUMNS, severalRows } from './aiconfigurator.js';
import { averageRepeats } from './average-repeats.js';
import { checkUnit } from './check-unit.js';
import { readCsv, type CsvRow } from './csv-table.js';
import type { ImportOptions } from './import-options.js';

/** Columns of aiconfigurator's nccl_perf tables; message_size is in elements, latency in ms. */
export const NCCL_COLUMNS = [
  ...ORIGIN_COLUMNS,
  'op_name',
  'nccl_dtype',
  'num_gpus',
  'message_size',
  'latency',
];

const COLLECTIVES: Readonly<Record<string, CollectiveRow['collective']>> = {
  alltoall: 'all-to-all',
  all_gather: 'all-gather',
  reduce_scatter: 'reduce-scatter',
  all_reduce: 'all-reduce',
};

/** Bytes of an element. */
const ELEMENT_BYTES: Readonly<Record<string, number>> = { half: 2, int8: 1 };

/** @throws MeasurementError */
export function importNcclTable(text: string, options: ImportOptions): Measurements {
  const { file } = options;
  const table = severalRows(readCsv(text, file, NCCL_COLUMNS), file);
  const rows = averageRepeats(table.map((row) => collectiveRow(row, options.gpusPerNode)));
  checkUnit(rows, file, 'latency', 'ms');
  return aiconfiguratorMeasurements(table, rows, options, 'kernel_source');
}

/** @param perNode GPUs of a node; default: all of the row's are in one, as in all published tables */
function collectiveRow(row: CsvRow, perNode?: number): CollectiveRow {
  const gpus = row.count('num_gpus');
  const gpusPerNode = Math.min(gpus, perNode ?? gpus);
  if (gpus % gpusPerNode !== 0) {
    row.refuse('num_gpus', `${gpus} GPUs in nodes of ${gpusPerNode}`, 'full nodes (--gpus-per-node)');
  }
  return {
    op: 'collective',
    // The version is NCCL's; the dtype tells rows of as many bytes apart: a reduction adds other numbers.
    kernel: [row.text('kernel_source'), row.text('version'), row.text('nccl_dtype')].join(' '),
    collective: row.choice('op_name', COLLECTIVES),
    gpus,
    gpusPerNode,
    bytes: row.count('message_size') * row.choice('nccl_dtype', ELEMENT_BYTES),
    seconds: row.time('latency') / 1e3,
    spread: null,
    repeats: null,
  };
}
