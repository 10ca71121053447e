import type { Measurements, TokenExchangeRow } from '../measurements.js';
import { aiconfiguratorMeasurements, kernelOf, ORIGIN_COLUMNS, severalRows } from './aiconfigurator.js';
import { averageRepeats } from './average-repeats.js';
import { checkUnit } from './check-unit.js';
import { csvColumns, readCsv, type CsvRow } from './csv-table.js';
import type { ImportOptions } from './import-options.js';

const SHAPE_COLUMNS = [...ORIGIN_COLUMNS, 'node_num', 'hidden_size', 'num_token', 'num_topk', 'num_experts'];

/** Columns of aiconfigurator's wideep_deepep_ll tables; num_token is per GPU, times are in µs. */
export const LOW_LATENCY_COLUMNS = [...SHAPE_COLUMNS, 'dispatch_avg_t_us', 'combine_avg_t_us'];

/** The same of its wideep_deepep_normal tables; transmit and notify add up. */
export const NORMAL_COLUMNS = [
  ...SHAPE_COLUMNS,
  ...['dispatch', 'combine'].flatMap((way) => [`${way}_sms`, `${way}_transmit_us`, `${way}_notify_us`]),
];

/** GPUs of a node where nobody says otherwise: of an HGX board, which the published tables come from. */
const GPUS_PER_NODE = 8;

/** @throws MeasurementError */
export function importDeepepTable(text: string, options: ImportOptions): Measurements {
  const { file, gpusPerNode = GPUS_PER_NODE } = options;
  const normal = csvColumns(text).some((name) => name.includes('_transmit_') || name.endsWith('_sms'));
  const table = severalRows(readCsv(text, file, normal ? NORMAL_COLUMNS : LOW_LATENCY_COLUMNS), file);
  const sound = table.filter((row) => !(normal && row.count('node_num') === 8));
  if (sound.length < table.length) {
    options.onNote?.(
      `${table.length - sound.length} rows of normal mode at 8 nodes left out: they look unhealthy (up to 10 ms ` +
        'of notification in a combine)',
    );
  }
  const rows = averageRepeats(
    severalRows(sound, file).flatMap((row) =>
      (['dispatch', 'combine'] as const).map((way) => exchangeRow(row, way, normal, gpusPerNode)),
    ),
  );
  checkUnit(rows, file, normal ? 'dispatch_transmit_us' : 'dispatch_avg_t_us', 'µs');
  return aiconfiguratorMeasurements(table, rows, options);
}

function exchangeRow(
  row: CsvRow,
  direction: TokenExchangeRow['direction'],
  normal: boolean,
  gpusPerNode: number,
): TokenExchangeRow {
  const microseconds = normal
    ? row.time(`${direction}_transmit_us`) + row.time(`${direction}_notify_us`, { zero: true })
    : row.time(`${direction}_avg_t_us`);
  return {
    op: 'token-exchange',
    kernel: kernelOf(row),
    mode: normal ? 'normal' : 'low-latency',
    direction,
    nodes: row.count('node_num'),
    gpusPerNode,
    hiddenSize: row.count('hidden_size'),
    tokensPerGpu: row.count('num_token'),
    topK: row.count('num_topk'),
    experts: row.count('num_experts'),
    sms: normal ? row.count(`${direction}_sms`) : null,
    seconds: microseconds / 1e6,
    spread: null,
    repeats: null,
  };
}
