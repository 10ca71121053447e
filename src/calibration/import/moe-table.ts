import type { Dtype } from '../../hardware/index.js';
import type { Measurements, MoeLayerRow } from '../measurements.js';
import { aiconfiguratorMeasurements, kernelOf, ORIGIN_COLUMNS, severalRows } from './aiconfigurator.js';
import { averageRepeats } from './average-repeats.js';
import { checkUnit } from './check-unit.js';
import { readCsv, type CsvRow } from './csv-table.js';
import type { ImportOptions } from './import-options.js';

/** Columns of aiconfigurator's moe_perf tables; latency is in ms. */
export const MOE_COLUMNS = [
  ...ORIGIN_COLUMNS,
  'moe_dtype',
  'num_tokens',
  'hidden_size',
  'inter_size',
  'topk',
  'num_experts',
  'moe_tp_size',
  'moe_ep_size',
  'distribution',
  'latency',
];

/** Formats of weights and activations behind a table's dtype; how fp8 is scaled stays in the kernel's name. */
const DTYPES: Readonly<Record<string, readonly [Dtype, Dtype]>> = {
  bfloat16: ['bf16', 'bf16'],
  fp8: ['fp8', 'fp8'],
  fp8_block: ['fp8', 'fp8'],
  int4_wo: ['int4', 'bf16'],
  w4a16_mxfp4: ['mxfp4', 'bf16'],
};

/** @throws MeasurementError */
export function importMoeTable(text: string, options: ImportOptions): Measurements {
  const { file } = options;
  const table = severalRows(readCsv(text, file, MOE_COLUMNS), file);
  const sound = table.filter((row) => !isCorrupted(row));
  if (sound.length < table.length) {
    options.onNote?.(
      `${table.length - sound.length} rows of vLLM's 7168 × 2048 with 256 experts left out: its grouped top-k ` +
        'breaks the ties of the forced routing towards experts 0 to 3, so that the load was another one',
    );
  }
  const rows = averageRepeats(severalRows(sound, file).map(moeRow));
  checkUnit(rows, file, 'latency', 'ms');
  return aiconfiguratorMeasurements(table, rows, options);
}

function isCorrupted(row: CsvRow): boolean {
  return (
    /^vllm$/i.test(row.text('framework')) &&
    row.count('hidden_size') === 7168 &&
    row.count('inter_size') === 2048 &&
    row.count('num_experts') === 256
  );
}

function moeRow(row: CsvRow): MoeLayerRow {
  const [weightDtype, activationDtype] = row.choice('moe_dtype', DTYPES);
  return {
    op: 'moe-layer',
    kernel: kernelOf(row, row.text('moe_dtype')),
    weightDtype,
    activationDtype,
    tokens: row.count('num_tokens'),
    hiddenSize: row.count('hidden_size'),
    expertHiddenSize: row.count('inter_size'),
    experts: row.count('num_experts'),
    topK: row.count('topk'),
    tensorParallel: row.count('moe_tp_size'),
    expertParallel: row.count('moe_ep_size'),
    distribution: distributionOf(row),
    seconds: row.time('latency') / 1e3,
    spread: null,
    repeats: null,
  };
}

function distributionOf(row: CsvRow): MoeLayerRow['distribution'] {
  const text = row.text('distribution');
  if (text === 'balanced') return text;
  const [, exponent] = /^power_law_(\d+(?:\.\d+)?)$/.exec(text) ?? [];
  return exponent === undefined
    ? row.refuse('distribution', `'${text}'`, 'balanced, or power_law_ with its exponent')
    : `power_law_${Number(exponent)}`;
}
