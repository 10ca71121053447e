import { z } from 'zod';
import type { ByteSource } from '../bytes.js';
import { Checksum, checksumOfText, floatWord, intWord } from './checksum.js';
import { CHECKSUM_KEY, countColumns, HEADER_KEY, tokenColumns, type Column } from './native-columns.js';
import { openParquet, type Cells, type ParquetFile } from './parquet-rows.js';
import { TokenRowsBuilder, type TokenRowsOptions } from './token-rows.js';
import {
  AS_RECORDED,
  metadataError,
  phases,
  TraceError,
  traceHeaderSchema,
  type CountedStep,
  type CountTrace,
  type TokenTrace,
  type Trace,
  type TraceHeader,
} from './trace.js';

const NATIVE = 'a trace that epsim trace record or epsim trace import wrote';
/** Largest number a 32-bit column holds, and one more. */
const INT_LIMIT = 2 ** 31;

/**
 * Reads a native trace, row group by row group.
 * @throws TraceError where the file is no such trace, is truncated, or contradicts its header
 */
export async function readNativeTrace(source: ByteSource, options: TokenRowsOptions = {}): Promise<Trace> {
  const file = await openParquet(source);
  const header = readHeader(file);
  return header.kind === 'counts' ? readCounts(file, header) : readTokens(file, header, options);
}

function readHeader(file: ParquetFile): TraceHeader {
  const text = file.valueOf(HEADER_KEY);
  if (text === undefined) {
    const found = `no '${HEADER_KEY}' key in the file's metadata: not an epsim trace`;
    throw new TraceError('', found, `${NATIVE}; epsim trace import makes one of other Parquet files`);
  }
  const json = parseJson('header', text);
  const parsed = traceHeaderSchema.safeParse(json);
  if (!parsed.success) throw metadataError('header', parsed.error, json);
  const { importance, layerIds, experts, topK, placements = [] } = parsed.data;
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
  if (topK > experts) throw new TraceError('header topK', String(topK), `at most the ${experts} experts`);
  placements.forEach(({ slots }, i) => {
    if (
      slots.length !== layerIds.length ||
      slots.some((layer) => layer.some((expert) => expert >= experts))
    ) {
      const allowed = `slots of ${layerIds.length} layers with experts 0 to ${experts - 1}`;
      throw new TraceError(`header placements.${i}`, 'another shape, or an expert out of range', allowed);
    }
  });
  return parsed.data;
}

function parseJson(place: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TraceError(place, (error as Error).message, 'JSON');
  }
}

/** Reads columns in turn, as numbers, and checks them. */
class ColumnReader {
  private readonly sums: Checksum[];
  /** Values of the columns in the row group that is being read. */
  readonly values: Float64Array[];
  private first = 0;

  constructor(private readonly columns: readonly Column[]) {
    this.sums = columns.map(() => new Checksum());
    this.values = columns.map(() => new Float64Array(0));
  }

  get names(): string[] {
    return this.columns.map(({ name }) => name);
  }

  indexOf(name: string): number {
    return this.columns.findIndex((column) => column.name === name);
  }

  /** Takes the next row group in. */
  take(first: number, rows: number, cells: ReadonlyMap<string, Cells>): void {
    this.first = first;
    this.columns.forEach((column, i) => {
      const found = cells.get(column.name);
      if (found === undefined) throw new TraceError('', `no column ${column.name}`, NATIVE);
      if (this.values[i].length !== rows) this.values[i] = new Float64Array(rows);
      const into = this.values[i];
      if (column.type === 'NAME') {
        for (let row = 0; row < rows; row++) {
          const name = found[row];
          const index = typeof name === 'string' ? column.names!.indexOf(name) : -1;
          if (index < 0) throw this.wrong(i, row, String(name), `one of ${column.names!.join(', ')}`);
          into[row] = index;
        }
      } else {
        for (let row = 0; row < rows; row++) into[row] = found[row] === null ? NaN : Number(found[row]);
      }
      this.sums[i].add(into, column.type === 'FLOAT' ? floatWord : intWord);
    });
  }

  /** Checks that a column of the row group holds whole numbers below `limit`. */
  check(column: number, limit: number): void {
    const values = this.values[column];
    for (let row = 0; row < values.length; row++) {
      const value = values[row];
      if (!(value >= 0 && value < limit && Number.isInteger(value))) {
        throw this.wrong(column, row, String(value), `0 to ${limit - 1}`);
      }
    }
  }

  checkFinite(column: number): void {
    const row = this.values[column].findIndex((value) => !Number.isFinite(value));
    if (row >= 0) throw this.wrong(column, row, String(this.values[column][row]), 'a finite number');
  }

  wrong(column: number, row: number, found: string, allowed: string): TraceError {
    return new TraceError(`column ${this.columns[column].name}, row ${this.first + row}`, found, allowed);
  }

  /** @throws TraceError where the file's contents are not those that were written */
  verify(file: ParquetFile): void {
    const text = file.valueOf(CHECKSUM_KEY);
    if (text === undefined) return;
    const written = checksumsSchema.safeParse(parseJson('checksums', text));
    const wrong = !written.success
      ? 'checksums'
      : written.data.header !== checksumOfText(file.valueOf(HEADER_KEY)!)
        ? 'header'
        : Object.keys(written.data.columns).length !== this.columns.length
          ? 'columns'
          : this.names.find((name, i) => written.data.columns[name] !== this.sums[i].digest());
    if (wrong === undefined) return;
    throw new TraceError(wrong, 'other contents than were written (by their checksum)', AS_RECORDED);
  }
}

const checksumsSchema = z.object({ header: z.string(), columns: z.record(z.string(), z.string()) });

async function readCounts(file: ParquetFile, header: TraceHeader): Promise<CountTrace> {
  const { experts, layerIds, gpus = 1, steps: stepCount } = header;
  if (stepCount === undefined) throw new TraceError('header', 'no steps', 'steps, where a trace has counts');
  const has = {
    phases: file.columns.includes('phase'),
    padding: file.columns.includes('padding_copies'),
  };
  const reader = new ColumnReader(countColumns(has));
  const at = (name: string) => reader.indexOf(name);
  const newStep = (calibration: boolean): CountedStep => ({
    calibration,
    layers: layerIds.map(() => new Int32Array(gpus * experts)),
    ...(has.padding && { padding: layerIds.map(() => new Int32Array(gpus * experts)) }),
  });
  if (file.rows < stepCount) {
    throw new TraceError('header steps', `${stepCount} steps in ${file.rows} rows`, AS_RECORDED);
  }
  const calibrationSteps: CountedStep[] = [];
  const steps: CountedStep[] = [];
  for await (const { first, rows, cells } of file.groups(reader.names)) {
    reader.take(first, rows, cells);
    reader.check(at('step'), stepCount);
    reader.check(at('layer'), layerIds.length);
    reader.check(at('source_gpu'), gpus);
    reader.check(at('expert'), experts);
    reader.check(at('copies'), INT_LIMIT);
    const [calibration, step, layer, source, expert, copies, padding, phase] = (
      ['calibration', 'step', 'layer', 'source_gpu', 'expert', 'copies', 'padding_copies', 'phase'] as const
    ).map((name) => (at(name) < 0 ? null : reader.values[at(name)]));
    for (let row = 0; row < rows; row++) {
      const isCalibration = calibration![row] !== 0;
      const list = isCalibration ? calibrationSteps : steps;
      while (list.length <= step![row]) list.push(newStep(isCalibration));
      const target = list[step![row]];
      const place = source![row] * experts + expert![row];
      target.layers[layer![row]][place] += copies![row];
      if (padding) target.padding![layer![row]][place] += padding[row];
      if (phase) target.phase = phases[phase[row]];
    }
  }
  reader.verify(file);
  if (steps.length < stepCount) throw new TraceError(`step ${steps.length}`, 'no copies', AS_RECORDED);
  const empty = steps.findIndex(({ layers }) =>
    layers.some((counts) => counts.every((count) => count === 0)),
  );
  if (empty >= 0) throw new TraceError(`step ${empty}`, 'a layer without copies', AS_RECORDED);
  return { kind: 'counts', header, steps: [...calibrationSteps, ...steps] };
}

async function readTokens(
  file: ParquetFile,
  header: TraceHeader,
  options: TokenRowsOptions,
): Promise<TokenTrace> {
  const { experts, layerIds, topK, gpus, domains } = header;
  const layers = layerIds.length;
  const tokens = file.rows / layers;
  if (!Number.isInteger(tokens) || tokens === 0) {
    throw new TraceError('', `${file.rows} rows`, `a multiple of ${layers} layers: truncated or corrupt`);
  }
  const has = {
    batches: file.columns.includes('step'),
    sequences: file.columns.includes('sequence'),
    domains: file.columns.includes('domain'),
    phases: file.columns.includes('phase'),
    padding: file.columns.includes('padding'),
    weights: file.columns.includes('weight_0'),
  };
  if (has.batches && (gpus === undefined || header.steps === undefined))
    throw new TraceError('header', 'no gpus or no steps', 'both, where a trace keeps batches');
  if (has.domains && (!has.sequences || domains === undefined)) {
    throw new TraceError('header', 'domains without their names or sequences', NATIVE);
  }
  const reader = new ColumnReader(tokenColumns(header, has));
  const at = {
    layer: reader.indexOf('layer'),
    token: reader.indexOf('token'),
    expert: reader.indexOf('expert_0'),
    weight: reader.indexOf('weight_0'),
  };
  const builder = new TokenRowsBuilder(tokens, layers * topK, experts, has.weights, options);
  const marks = new MarkReader(reader, header, tokens, has);
  for await (const { first, rows, cells } of file.groups(reader.names)) {
    reader.take(first, rows, cells);
    for (let j = 0; j < topK; j++) {
      reader.check(at.expert + j, experts);
      if (has.weights) reader.checkFinite(at.weight + j);
    }
    marks.checkGroup();
    const layerOf = reader.values[at.layer];
    const tokenOf = reader.values[at.token];
    for (let row = 0; row < rows; row++) {
      const token = Math.floor((first + row) / layers);
      const layer = (first + row) % layers;
      if (tokenOf[row] !== token || layerOf[row] !== layer) {
        const found = `token ${tokenOf[row]}, layer ${layerOf[row]}`;
        throw new TraceError(`row ${first + row}`, found, 'rows sorted by token, then layer');
      }
      for (let j = 0; j < topK; j++) {
        builder.pick(layer * topK + j, reader.values[at.expert + j][row]);
        if (has.weights) builder.weigh(layer * topK + j, reader.values[at.weight + j][row]);
      }
      if (layer === 0) marks.read(token, row);
      if (layer === layers - 1) builder.next();
    }
  }
  reader.verify(file);
  return { kind: 'tokens', header, tokens, rows: builder.finish(), ...marks.finish() };
}

/** Reads what stands beside the experts, once for every token. */
class MarkReader {
  private readonly at: Record<
    'calibration' | 'step' | 'source' | 'sequence' | 'domain' | 'phase' | 'padding',
    number
  >;
  private readonly sequenceStarts: number[] = [];
  private readonly sequenceDomains: number[] = [];
  private readonly stepStarts: number[] = [];
  private calibrationSteps = 0;
  private readonly source: Uint16Array | null;
  private readonly phase: Uint8Array | null;
  private readonly padding: Uint8Array | null;

  constructor(
    private readonly reader: ColumnReader,
    private readonly header: TraceHeader,
    private readonly tokens: number,
    private readonly has: {
      batches: boolean;
      sequences: boolean;
      domains: boolean;
      phases: boolean;
      padding: boolean;
    },
  ) {
    this.at = {
      calibration: reader.indexOf('calibration'),
      step: reader.indexOf('step'),
      source: reader.indexOf('source_gpu'),
      sequence: reader.indexOf('sequence'),
      domain: reader.indexOf('domain'),
      phase: reader.indexOf('phase'),
      padding: reader.indexOf('padding'),
    };
    this.source = has.batches ? new Uint16Array(tokens) : null;
    this.phase = has.phases ? new Uint8Array(tokens) : null;
    this.padding = has.padding ? new Uint8Array(tokens) : null;
  }

  /** Checks the columns of the row group that was taken. */
  checkGroup(): void {
    if (!this.has.batches) return;
    this.reader.check(this.at.step, this.header.steps!);
    this.reader.check(this.at.source, this.header.gpus!);
  }

  read(token: number, row: number): void {
    const { reader, at } = this;
    if (this.has.batches) this.readBatch(token, row);
    if (this.has.sequences) {
      const sequence = reader.values[at.sequence][row];
      if (sequence === this.sequenceStarts.length) {
        this.sequenceStarts.push(token);
        if (this.has.domains) this.sequenceDomains.push(reader.values[at.domain][row]);
      } else if (sequence !== this.sequenceStarts.length - 1) {
        const allowed = `${this.sequenceStarts.length - 1} or the next`;
        throw new TraceError(`token ${token}`, `sequence ${sequence}`, allowed);
      } else if (this.has.domains && reader.values[at.domain][row] !== this.sequenceDomains[sequence]) {
        throw new TraceError(
          `token ${token}`,
          'another domain within a sequence',
          'one domain for each sequence',
        );
      }
    }
    if (this.phase) this.phase[token] = reader.values[at.phase][row];
    if (this.padding) this.padding[token] = reader.values[at.padding][row];
  }

  private readBatch(token: number, row: number): void {
    const { reader, at } = this;
    const calibration = reader.values[at.calibration][row] !== 0;
    const step = reader.values[at.step][row];
    const begun = this.stepStarts.length;
    if (calibration) {
      if (begun > this.calibrationSteps) {
        throw new TraceError(
          `token ${token}`,
          'a calibration token after others',
          'the calibration part first',
        );
      }
      if (step === begun) {
        this.stepStarts.push(token);
        this.calibrationSteps++;
      } else if (step !== begun - 1) throw this.unordered(token, step, begun);
    } else {
      const own = begun - this.calibrationSteps;
      if (step === own) this.stepStarts.push(token);
      else if (step !== own - 1) throw this.unordered(token, step, own);
    }
    this.source![token] = reader.values[at.source][row];
  }

  private unordered(token: number, step: number, next: number): TraceError {
    return new TraceError(`token ${token}`, `step ${step}`, next === 0 ? '0' : `${next - 1} or the next`);
  }

  finish(): Pick<TokenTrace, 'sequenceStarts' | 'sequenceDomains' | 'batches' | 'phase' | 'padding'> {
    const { tokens, has } = this;
    return {
      sequenceStarts: has.sequences ? Int32Array.from([...this.sequenceStarts, tokens]) : null,
      sequenceDomains: has.domains ? Uint16Array.from(this.sequenceDomains) : null,
      batches: has.batches
        ? {
            starts: Int32Array.from([...this.stepStarts, tokens]),
            calibrationSteps: this.calibrationSteps,
            source: this.source!,
          }
        : null,
      phase: this.phase,
      padding: this.padding,
    };
  }
}
