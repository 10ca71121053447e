import { parquetMetadata, parquetRead, type FileMetaData } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { z } from 'zod';
import type { LayerBatch } from '../source.js';
import { Checksum, checksumOfText, floatWord, intWord } from './checksum.js';
import {
  AS_RECORDED,
  checkExperts,
  metadataError,
  TraceError,
  traceHeaderSchema,
  type CountedStep,
  type CountTrace,
  type TokenTrace,
  type Trace,
  type TraceHeader,
} from './trace.js';

/** Key under which the header stands in the file's metadata. */
const HEADER_KEY = 'epsim';
/** Key of the checksums; files written before there were any lack it, and are read unchecked. */
const CHECKSUM_KEY = 'epsim/checksums';
const NATIVE = 'a trace that epsim trace record wrote';
const ROWS_PER_GROUP = 100_000;

type ColumnType = 'INT32' | 'FLOAT' | 'BOOLEAN';
interface Column {
  name: string;
  type: ColumnType;
}

const int = (name: string): Column => ({ name, type: 'INT32' });
const CALIBRATION: Column = { name: 'calibration', type: 'BOOLEAN' };
const BATCH_COLUMNS = [int('step'), int('source_gpu')];
const COUNT_COLUMNS = [
  CALIBRATION,
  int('step'),
  int('layer'),
  int('source_gpu'),
  int('expert'),
  int('copies'),
];

function tokenColumns(
  topK: number,
  has: { batches: boolean; sequences: boolean; weights: boolean },
): Column[] {
  return [
    ...(has.batches ? [CALIBRATION, ...BATCH_COLUMNS] : []),
    ...(has.sequences ? [int('sequence')] : []),
    int('token'),
    int('layer'),
    ...Array.from({ length: topK }, (_, j) => int(`expert_${j}`)),
    ...(has.weights
      ? Array.from({ length: topK }, (_, j): Column => ({ name: `weight_${j}`, type: 'FLOAT' }))
      : []),
  ];
}

/** Collects rows and writes them in groups, so that memory holds one group besides the compressed file. */
class RowWriter {
  private readonly writer = new ByteWriter();
  private readonly parquet: ParquetWriter;
  private readonly metadata: { key: string; value: string }[];
  private readonly header: string;
  private readonly checksums: Checksum[];
  private rows: number[][];

  constructor(
    header: TraceHeader,
    private readonly columns: readonly Column[],
  ) {
    this.header = JSON.stringify(header);
    this.metadata = [{ key: HEADER_KEY, value: this.header }];
    this.checksums = columns.map(() => new Checksum());
    this.parquet = new ParquetWriter({
      writer: this.writer,
      schema: [
        { name: 'root', num_children: columns.length },
        ...columns.map(({ name, type }) => ({ name, type, repetition_type: 'REQUIRED' as const })),
      ],
      // Written at the end, when the checksums are known.
      kvMetadata: this.metadata,
      createdBy: 'epsim',
    });
    this.rows = columns.map(() => []);
  }

  add(...values: number[]): void {
    values.forEach((value, column) => this.rows[column].push(value));
    if (this.rows[0].length >= ROWS_PER_GROUP) this.flush();
  }

  finish(): Uint8Array {
    this.flush();
    const columns = this.columns.map(({ name }, i) => [name, this.checksums[i].digest()] as const);
    const checksums = { header: checksumOfText(this.header), columns: Object.fromEntries(columns) };
    this.metadata.push({ key: CHECKSUM_KEY, value: JSON.stringify(checksums) });
    // A ByteWriter writes to memory, at once.
    void this.parquet.finish();
    return new Uint8Array(this.writer.getBuffer());
  }

  private flush(): void {
    if (this.rows[0].length === 0) return;
    const columnData = this.columns.map(({ name, type }, column) => ({
      name,
      data: toColumn(type, this.rows[column]),
    }));
    this.columns.forEach(({ type }, i) => this.checksums[i].add(this.rows[i], wordOf(type)));
    void this.parquet.write({
      columnData,
      rowGroupSize: ROWS_PER_GROUP,
    });
    this.rows = this.columns.map(() => []);
  }
}

function toColumn(type: ColumnType, values: number[]): Int32Array | Float32Array | boolean[] {
  if (type === 'INT32') return Int32Array.from(values);
  return type === 'FLOAT' ? Float32Array.from(values) : values.map(Boolean);
}

function wordOf(type: string | undefined): typeof intWord {
  return type === 'FLOAT' ? floatWord : intWord;
}

/** Writes batches, as a run would see them, to a native trace: tokens where the batches have them, else counts. */
export class BatchTraceWriter {
  private readonly rows: RowWriter;
  private readonly weights: boolean;
  private token = 0;

  /** @param header of kind `tokens` or `counts`, with `gpus` and `steps` */
  constructor(
    private readonly header: TraceHeader,
    hasGateWeights: boolean,
  ) {
    this.weights = hasGateWeights;
    const columns =
      header.kind === 'counts'
        ? COUNT_COLUMNS
        : tokenColumns(header.topK, { batches: true, sequences: false, weights: hasGateWeights });
    this.rows = new RowWriter(header, columns);
  }

  /** Steps must come in rising order, the calibration part (which counts its steps from 0) first. */
  add(step: number, layers: readonly LayerBatch[], calibration = false): void {
    if (this.header.kind === 'counts') this.addCounts(step, layers, calibration);
    else this.addTokens(step, layers, calibration);
  }

  finish(): Uint8Array {
    return this.rows.finish();
  }

  private addCounts(step: number, layers: readonly LayerBatch[], calibration: boolean): void {
    const { experts } = this.header;
    for (const { layer, counts } of layers) {
      counts.forEach((copies, i) => {
        if (copies > 0) {
          this.rows.add(Number(calibration), step, layer, Math.floor(i / experts), i % experts, copies);
        }
      });
    }
  }

  private addTokens(step: number, layers: readonly LayerBatch[], calibration: boolean): void {
    const { topK } = this.header;
    const { count, source } = layers[0].tokens!;
    for (let token = 0; token < count; token++) {
      for (const { layer, tokens } of layers) {
        const { experts, weights } = tokens!;
        const at = token * topK;
        this.rows.add(
          Number(calibration),
          step,
          source[token],
          this.token + token,
          layer,
          ...experts.subarray(at, at + topK),
          ...(this.weights ? weights!.subarray(at, at + topK) : []),
        );
      }
    }
    this.token += count;
  }
}

/** Writes a recording of whole sequences to a native trace. */
export function encodeTokenTrace(trace: TokenTrace): Uint8Array {
  const { header, tokens, experts, weights, sequenceStarts, batches } = trace;
  const { topK, layerIds } = header;
  const has = { batches: batches !== null, sequences: sequenceStarts !== null, weights: weights !== null };
  const rows = new RowWriter(header, tokenColumns(topK, has));
  let sequence = 0;
  for (let token = 0; token < tokens; token++) {
    while (sequenceStarts && token >= sequenceStarts[sequence + 1]) sequence++;
    for (let layer = 0; layer < layerIds.length; layer++) {
      const at = (token * layerIds.length + layer) * topK;
      rows.add(
        ...(batches ? [batches.calibration[token], batches.step[token], batches.source[token]] : []),
        ...(sequenceStarts ? [sequence] : []),
        token,
        layer,
        ...experts.subarray(at, at + topK),
        ...(weights ? weights.subarray(at, at + topK) : []),
      );
    }
  }
  return rows.finish();
}

/**
 * Reads a native trace.
 * @throws TraceError where the file is no such trace, is truncated, or contradicts its header
 */
export async function readNativeTrace(bytes: ArrayBuffer): Promise<Trace> {
  let metadata: FileMetaData;
  try {
    metadata = parquetMetadata(bytes);
  } catch (error) {
    throw new TraceError(
      '',
      `not a Parquet file that can be read (${(error as Error).message})`,
      AS_RECORDED,
    );
  }
  const header = readHeader(metadata);
  const rows = Number(metadata.num_rows);
  let columns: Map<string, Float64Array>;
  try {
    columns = await readColumns(bytes, metadata, rows);
  } catch (error) {
    throw new TraceError('', `data that can't be decoded (${(error as Error).message})`, AS_RECORDED);
  }
  verifyChecksums(metadata, columns);
  return header.kind === 'counts' ? toCountTrace(header, columns, rows) : toTokenTrace(header, columns, rows);
}

function metadataOf({ key_value_metadata: entries }: FileMetaData, wanted: string): string | undefined {
  return entries?.find(({ key }) => key === wanted)?.value;
}

const checksumsSchema = z.object({ header: z.string(), columns: z.record(z.string(), z.string()) });

/** @throws TraceError where the file's contents are not those that were written */
function verifyChecksums(metadata: FileMetaData, columns: Map<string, Float64Array>): void {
  const text = metadataOf(metadata, CHECKSUM_KEY);
  if (text === undefined) return;
  const written = checksumsSchema.safeParse(parseJson(text));
  const types = new Map(metadata.schema.map(({ name, type }) => [name, type]));
  const wrong = !written.success
    ? 'checksums'
    : written.data.header !== checksumOfText(metadataOf(metadata, HEADER_KEY)!)
      ? 'header'
      : Object.entries(written.data.columns).find(
          ([name, sum]) =>
            new Checksum().add(columns.get(name) ?? [], wordOf(types.get(name))).digest() !== sum,
        )?.[0];
  if (wrong === undefined) return;
  throw new TraceError(wrong, 'other contents than were written (by their checksum)', AS_RECORDED);
}

function readHeader(metadata: FileMetaData): TraceHeader {
  const text = metadataOf(metadata, HEADER_KEY);
  if (text === undefined)
    throw new TraceError('', `no '${HEADER_KEY}' key in the file's metadata: not an epsim trace`, NATIVE);
  const json = parseJson(text);
  const parsed = traceHeaderSchema.safeParse(json);
  if (!parsed.success) throw metadataError('header', parsed.error, json);
  const { importance, layerIds, experts } = parsed.data;
  if (
    importance &&
    (importance.length !== layerIds.length || importance.some((row) => row.length !== experts))
  ) {
    throw new TraceError(
      'header',
      'importance of another shape',
      `${layerIds.length} layers × ${experts} experts`,
    );
  }
  return parsed.data;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TraceError('header', (error as Error).message, 'JSON');
  }
}

async function readColumns(
  file: ArrayBuffer,
  metadata: FileMetaData,
  rows: number,
): Promise<Map<string, Float64Array>> {
  const columns = new Map<string, Float64Array>();
  await parquetRead({
    file,
    metadata,
    compressors,
    onChunk({ columnName, columnData, rowStart }) {
      let column = columns.get(columnName);
      if (!column) columns.set(columnName, (column = new Float64Array(rows).fill(NaN)));
      for (let i = 0; i < columnData.length; i++) column[rowStart + i] = Number(columnData[i]);
    },
  });
  return columns;
}

function columnOf(columns: Map<string, Float64Array>, name: string): Float64Array {
  const column = columns.get(name);
  if (!column) throw new TraceError('', `no column ${name} among ${[...columns.keys()].join(', ')}`, NATIVE);
  return column;
}

/** A column of whole numbers below `limit`. */
function indexColumn(columns: Map<string, Float64Array>, name: string, limit: number): Float64Array {
  const column = columnOf(columns, name);
  const wrong = column.findIndex((value) => !(Number.isInteger(value) && value >= 0 && value < limit));
  if (wrong >= 0) {
    throw new TraceError(`column ${name}, row ${wrong}`, String(column[wrong]), `0 to ${limit - 1}`);
  }
  return column;
}

function toCountTrace(header: TraceHeader, columns: Map<string, Float64Array>, rows: number): CountTrace {
  const { experts, layerIds, gpus, steps: stepCount } = header;
  if (gpus === undefined || stepCount === undefined)
    throw new TraceError('header', 'no gpus or no steps', 'both, where a trace keeps batches');
  const calibration = columnOf(columns, 'calibration');
  const step = indexColumn(columns, 'step', stepCount);
  const layer = indexColumn(columns, 'layer', layerIds.length);
  const source = indexColumn(columns, 'source_gpu', gpus);
  const expert = indexColumn(columns, 'expert', experts);
  const copies = indexColumn(columns, 'copies', 2 ** 31);
  const newStep = (isCalibration: boolean): CountedStep => ({
    calibration: isCalibration,
    layers: layerIds.map(() => new Int32Array(gpus * experts)),
  });
  const calibrationSteps: CountedStep[] = [];
  const steps = Array.from({ length: stepCount }, () => newStep(false));
  for (let row = 0; row < rows; row++) {
    if (calibration[row]) while (calibrationSteps.length <= step[row]) calibrationSteps.push(newStep(true));
    const target = (calibration[row] ? calibrationSteps : steps)[step[row]];
    target.layers[layer[row]][source[row] * experts + expert[row]] += copies[row];
  }
  const empty = steps.findIndex(({ layers }) =>
    layers.some((counts) => counts.every((count) => count === 0)),
  );
  if (empty >= 0) throw new TraceError(`step ${empty}`, 'a layer without copies', AS_RECORDED);
  return { kind: 'counts', header, steps: [...calibrationSteps, ...steps] };
}

function toTokenTrace(header: TraceHeader, columns: Map<string, Float64Array>, rows: number): TokenTrace {
  const { experts, layerIds, topK, gpus } = header;
  const layers = layerIds.length;
  const tokens = rows / layers;
  if (!Number.isInteger(tokens) || tokens === 0) {
    throw new TraceError('', `${rows} rows`, `a multiple of ${layers} layers: truncated or corrupt`);
  }
  const layer = indexColumn(columns, 'layer', layers);
  const token = indexColumn(columns, 'token', tokens);
  for (let row = 0; row < rows; row++) {
    if (token[row] !== Math.floor(row / layers) || layer[row] !== row % layers) {
      throw new TraceError(
        `row ${row}`,
        `token ${token[row]}, layer ${layer[row]}`,
        'rows sorted by token, then layer',
      );
    }
  }
  const picks = new Uint16Array(rows * topK);
  for (let j = 0; j < topK; j++) {
    const column = indexColumn(columns, `expert_${j}`, experts);
    for (let row = 0; row < rows; row++) picks[row * topK + j] = column[row];
  }
  const trace: TokenTrace = {
    kind: 'tokens',
    header,
    tokens,
    experts: picks,
    weights: columns.has('weight_0') ? readWeights(columns, rows, topK) : null,
    sequenceStarts: columns.has('sequence') ? readSequences(columns, tokens, layers) : null,
    batches: null,
  };
  checkExperts(trace);
  if (columns.has('step')) {
    if (gpus === undefined || header.steps === undefined)
      throw new TraceError('header', 'no gpus or no steps', 'both, where a trace keeps batches');
    const everyLayer = (column: Float64Array) =>
      Int32Array.from({ length: tokens }, (_, t) => column[t * layers]);
    trace.batches = {
      calibration: Uint8Array.from(everyLayer(columnOf(columns, 'calibration'))),
      step: everyLayer(indexColumn(columns, 'step', header.steps)),
      source: everyLayer(indexColumn(columns, 'source_gpu', gpus)),
    };
  }
  return trace;
}

function readWeights(columns: Map<string, Float64Array>, rows: number, topK: number): Float32Array {
  const weights = new Float32Array(rows * topK);
  for (let j = 0; j < topK; j++) {
    const column = columnOf(columns, `weight_${j}`);
    for (let row = 0; row < rows; row++) {
      if (!Number.isFinite(column[row]))
        throw new TraceError(`column weight_${j}, row ${row}`, String(column[row]), 'a finite number');
      weights[row * topK + j] = column[row];
    }
  }
  return weights;
}

/** First token of every sequence, and the end; sequences must be numbered from 0 without gaps. */
function readSequences(columns: Map<string, Float64Array>, tokens: number, layers: number): Int32Array {
  const column = columnOf(columns, 'sequence');
  const starts: number[] = [];
  for (let token = 0; token < tokens; token++) {
    const sequence = column[token * layers];
    if (sequence === starts.length) starts.push(token);
    else if (sequence !== starts.length - 1) {
      throw new TraceError(`token ${token}`, `sequence ${sequence}`, `${starts.length - 1} or the next`);
    }
  }
  return Int32Array.from([...starts, tokens]);
}
