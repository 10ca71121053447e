import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { MemorySink, type ByteSink } from '../bytes.js';
import type { LayerBatch } from '../source.js';
import { Checksum, checksumOfText, floatWord, intWord } from './checksum.js';
import {
  CHECKSUM_KEY,
  countColumns,
  HEADER_KEY,
  tokenColumns,
  type Column,
  type CountColumns,
  type TokenColumns,
} from './native-columns.js';
import { phases, type Phase, type TokenTrace, type TraceHeader } from './trace.js';

const ROWS_PER_GROUP = 100_000;

/** Hands on what was encoded whenever a row group is complete. */
class SinkWriter extends ByteWriter {
  constructor(private readonly sink: ByteSink) {
    super(1 << 20);
  }

  flush(): void {
    this.sink.write(this.getBytes());
    this.index = 0;
  }

  override finish(): void {
    this.flush();
  }
}

/** Collects rows and writes them in groups: memory holds one group, whatever the length of the file. */
class RowWriter {
  private readonly parquet: ParquetWriter;
  private readonly metadata: { key: string; value: string }[];
  private readonly checksums: Checksum[];
  private readonly values: (Int32Array | Float32Array)[];
  private rows = 0;

  constructor(
    private readonly columns: readonly Column[],
    sink: ByteSink,
  ) {
    this.metadata = [];
    this.checksums = columns.map(() => new Checksum());
    this.parquet = new ParquetWriter({
      writer: new SinkWriter(sink),
      schema: [
        { name: 'root', num_children: columns.length },
        ...columns.map(({ name, type }) =>
          type === 'NAME'
            ? ({ name, type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' } as const)
            : ({ name, type, repetition_type: 'REQUIRED' } as const),
        ),
      ],
      // Written at the end, when header and checksums are known.
      kvMetadata: this.metadata,
      createdBy: 'epsim',
    });
    this.values = columns.map(({ type }) =>
      type === 'FLOAT' ? new Float32Array(ROWS_PER_GROUP) : new Int32Array(ROWS_PER_GROUP),
    );
  }

  /** Place of a column in `set`; −1 where the trace has none of that name. */
  indexOf(name: string): number {
    return this.columns.findIndex((column) => column.name === name);
  }

  /** Sets a value of the row that is being filled; a column that is not there (−1) is left out. */
  set(column: number, value: number): void {
    if (column >= 0) this.values[column][this.rows] = value;
  }

  /** Ends the row that was being filled. */
  next(): void {
    if (++this.rows === ROWS_PER_GROUP) this.flush();
  }

  finish(header: TraceHeader): void {
    this.flush();
    const text = JSON.stringify(header);
    const columns = this.columns.map(({ name }, i) => [name, this.checksums[i].digest()] as const);
    const checksums = { header: checksumOfText(text), columns: Object.fromEntries(columns) };
    this.metadata.push({ key: HEADER_KEY, value: text });
    this.metadata.push({ key: CHECKSUM_KEY, value: JSON.stringify(checksums) });
    // A sink takes its bytes at once, so that nothing is left to wait for.
    void this.parquet.finish();
  }

  private flush(): void {
    if (this.rows === 0) return;
    const columnData = this.columns.map(({ name, type, names }, i) => {
      const values = this.values[i].subarray(0, this.rows);
      this.checksums[i].add(values, type === 'FLOAT' ? floatWord : intWord);
      if (type === 'NAME') return { name, data: Array.from(values, (index) => names![index]) };
      return { name, data: type === 'BOOLEAN' ? Array.from(values, Boolean) : values };
    });
    void this.parquet.write({ columnData, rowGroupSize: ROWS_PER_GROUP });
    this.rows = 0;
  }
}

/** What a token trace says of one token; what its columns lack is not looked at. */
export interface TokenMarks {
  calibration: boolean;
  step: number;
  source: number;
  sequence: number;
  /** Index in the header's domains. */
  domain: number;
  phase: Phase;
  padding: boolean;
}

/** Writes a token trace token by token. */
export class TokenTraceWriter {
  private readonly rows: RowWriter;
  private readonly at: Record<
    'calibration' | 'step' | 'source_gpu' | 'sequence' | 'domain' | 'phase' | 'padding' | 'token' | 'layer',
    number
  >;
  private readonly expert0: number;
  private readonly weight0: number;
  private token = 0;

  constructor(
    private readonly header: TraceHeader,
    has: TokenColumns,
    sink: ByteSink,
  ) {
    const rows = new RowWriter(tokenColumns(header, has), sink);
    this.rows = rows;
    this.at = {
      calibration: rows.indexOf('calibration'),
      step: rows.indexOf('step'),
      source_gpu: rows.indexOf('source_gpu'),
      sequence: rows.indexOf('sequence'),
      domain: rows.indexOf('domain'),
      phase: rows.indexOf('phase'),
      padding: rows.indexOf('padding'),
      token: rows.indexOf('token'),
      layer: rows.indexOf('layer'),
    };
    this.expert0 = rows.indexOf('expert_0');
    this.weight0 = rows.indexOf('weight_0');
  }

  /** Tokens written so far. */
  get tokens(): number {
    return this.token;
  }

  /**
   * Tokens come in the order of the trace: the calibration part (which counts its steps from 0) first, then
   * step by step, sequences numbered from 0 in one piece each.
   *
   * @param experts, weights picks of the token from `from` on, [layer · topK + choice]
   * @param stride from a layer to the next; default: topK
   */
  add(
    marks: Partial<TokenMarks>,
    experts: ArrayLike<number>,
    weights: ArrayLike<number> | null,
    from = 0,
    stride = this.header.topK,
  ): void {
    const { rows, at, expert0, weight0 } = this;
    const { topK, layerIds } = this.header;
    for (let layer = 0; layer < layerIds.length; layer++) {
      rows.set(at.calibration, Number(marks.calibration ?? false));
      rows.set(at.step, marks.step ?? 0);
      rows.set(at.source_gpu, marks.source ?? 0);
      rows.set(at.sequence, marks.sequence ?? 0);
      rows.set(at.domain, marks.domain ?? 0);
      rows.set(at.phase, marks.phase === undefined ? 0 : phases.indexOf(marks.phase));
      rows.set(at.padding, Number(marks.padding ?? false));
      rows.set(at.token, this.token);
      rows.set(at.layer, layer);
      const first = from + layer * stride;
      for (let j = 0; j < topK; j++) {
        rows.set(expert0 + j, experts[first + j]);
        if (weight0 >= 0) rows.set(weight0 + j, weights![first + j]);
      }
      rows.next();
    }
    this.token++;
  }

  /** @param known what was not known of the header before all was read; not topK, nor the domains */
  finish(known: Partial<TraceHeader> = {}): void {
    this.rows.finish({ ...this.header, ...known });
  }
}

/** Writes a trace of counts, layer by layer of every step. */
export class CountTraceWriter {
  private readonly rows: RowWriter;

  constructor(
    private readonly header: TraceHeader,
    private readonly has: CountColumns,
    sink: ByteSink,
  ) {
    this.rows = new RowWriter(countColumns(has), sink);
  }

  /**
   * Steps must come in rising order, the calibration part (which counts its steps from 0) first.
   * @param counts copies, [source · experts + expert]
   * @param padding copies of padding in the same order
   */
  add(
    marks: { calibration?: boolean; step: number; phase?: Phase; layer: number },
    counts: ArrayLike<number>,
    padding?: ArrayLike<number>,
  ): void {
    const { rows, has } = this;
    const { experts } = this.header;
    for (let i = 0; i < counts.length; i++) {
      if (counts[i] === 0 && !(padding !== undefined && padding[i] > 0)) continue;
      let column = 0;
      rows.set(column++, Number(marks.calibration ?? false));
      rows.set(column++, marks.step);
      if (has.phases) rows.set(column++, phases.indexOf(marks.phase!));
      rows.set(column++, marks.layer);
      rows.set(column++, Math.floor(i / experts));
      rows.set(column++, i % experts);
      rows.set(column++, counts[i]);
      if (has.padding) rows.set(column, padding![i]);
      rows.next();
    }
  }

  /** @param known what was not known of the header before all was read; not topK, nor the domains */
  finish(known: Partial<TraceHeader> = {}): void {
    this.rows.finish({ ...this.header, ...known });
  }
}

/** Writes batches, as a run would see them, to a native trace: tokens where the batches have them, else counts. */
export class BatchTraceWriter {
  private readonly tokens: TokenTraceWriter | null;
  private readonly counts: CountTraceWriter | null;
  private readonly picks: Uint16Array;
  private readonly weights: Float32Array | null;

  /** @param header of kind `tokens` or `counts`, with `gpus` and `steps` */
  constructor(
    private readonly header: TraceHeader,
    hasGateWeights: boolean,
    sink: ByteSink,
  ) {
    const has: TokenColumns = {
      batches: true,
      sequences: false,
      domains: false,
      phases: false,
      padding: false,
      weights: hasGateWeights,
    };
    const isTokens = header.kind === 'tokens';
    this.tokens = isTokens ? new TokenTraceWriter(header, has, sink) : null;
    this.counts = isTokens ? null : new CountTraceWriter(header, { phases: false, padding: false }, sink);
    this.picks = new Uint16Array(header.layerIds.length * header.topK);
    this.weights = hasGateWeights ? new Float32Array(this.picks.length) : null;
  }

  /** Steps must come in rising order, the calibration part (which counts its steps from 0) first. */
  add(step: number, layers: readonly LayerBatch[], calibration = false): void {
    for (const { layer, counts } of this.counts ? layers : []) {
      this.counts!.add({ calibration, step, layer }, counts);
    }
    if (this.tokens === null) return;
    const { topK } = this.header;
    const { count, source } = layers[0].tokens!;
    for (let token = 0; token < count; token++) {
      layers.forEach(({ tokens }, layer) => {
        for (let j = 0; j < topK; j++) {
          this.picks[layer * topK + j] = tokens!.experts[token * topK + j];
          if (this.weights) this.weights[layer * topK + j] = tokens!.weights![token * topK + j];
        }
      });
      this.tokens.add({ calibration, step, source: source[token] }, this.picks, this.weights);
    }
  }

  finish(): void {
    (this.tokens ?? this.counts)!.finish();
  }
}

/** Writes a token trace that is open. */
export function writeTokenTrace(trace: TokenTrace, sink: ByteSink): void {
  const { header, tokens, rows, sequenceStarts, sequenceDomains, batches, phase, padding } = trace;
  const writer = new TokenTraceWriter(
    header,
    {
      batches: batches !== null,
      sequences: sequenceStarts !== null,
      domains: sequenceDomains !== null,
      phases: phase !== null,
      padding: padding !== null,
      weights: rows.hasWeights,
    },
    sink,
  );
  const perToken = header.layerIds.length * header.topK;
  let sequence = 0;
  let step = 0;
  for (let token = 0; token < tokens; token++) {
    while (sequenceStarts && token >= sequenceStarts[sequence + 1]) sequence++;
    while (batches && token >= batches.starts[step + 1]) step++;
    const { experts, weights } = rows.block(Math.floor(token / rows.blockTokens));
    const calibration = batches !== null && step < batches.calibrationSteps;
    writer.add(
      {
        calibration,
        step: calibration ? step : step - (batches?.calibrationSteps ?? 0),
        source: batches?.source[token],
        sequence,
        domain: sequenceDomains?.[sequence],
        phase: phase ? phases[phase[token]] : undefined,
        padding: padding?.[token] === 1,
      },
      experts,
      weights,
      (token % rows.blockTokens) * perToken,
    );
  }
  writer.finish();
}

/** A token trace as the bytes of a native file. */
export function encodeTokenTrace(trace: TokenTrace): Uint8Array<ArrayBuffer> {
  const sink = new MemorySink();
  writeTokenTrace(trace, sink);
  return sink.bytes();
}
