import type { ByteSink, ByteSource } from '../bytes.js';
import type { CountColumns, TokenColumns } from '../trace/native-columns.js';
import { CountTraceWriter, TokenTraceWriter } from '../trace/native-writer.js';
import { TraceError, type Phase, type TraceHeader } from '../trace/trace.js';
import { MOST_EXPERTS } from './limits.js';

/** What the user says of a recording, where the recording itself does not. */
export interface ImportOptions {
  model?: string;
  experts?: number;
  topK?: number;
  phase?: Phase;
  /** Where the recording comes from, and under which licence. */
  source?: string;
  licence?: string;
}

/** The names and the first bytes of the files, by which formats tell themselves apart. */
export interface FilePeek {
  name: string;
  /** Up to 64 KiB. */
  head: Uint8Array;
  /** The same as text. */
  text: string;
  /** Names of the members, where the file is a zip archive. */
  members: readonly string[] | null;
}

/** A format of recordings, as one engine or tool writes them. */
export interface TraceFormat {
  name: string;
  /** One line for the help. */
  summary: string;
  /** Whether the files look like this format. */
  detects(files: readonly FilePeek[]): boolean;
  /**
   * Reads the files and writes a native trace.
   * @throws TraceError where they are damaged, contradict each other, or lack what nobody says
   */
  read(job: ImportJob): Promise<TraceHeader>;
}

/** One import: what is read, what is known besides, and where it goes. */
export class ImportJob {
  readonly notes: string[] = [];

  constructor(
    readonly files: readonly ByteSource[],
    readonly options: ImportOptions,
    private readonly format: string,
    private readonly sink: ByteSink,
  ) {}

  /** Adds what a reader of the trace must know. */
  note(text: string): void {
    if (!this.notes.includes(text)) this.notes.push(text);
  }

  /** Number of experts: as the recording says, as the user says, or as both do. */
  experts(found: number | undefined): number {
    return this.settle('experts', '--experts', found, this.options.experts, MOST_EXPERTS);
  }

  topK(found: number | undefined, experts: number): number {
    return this.settle('top-k', '--top-k', found, this.options.topK, experts);
  }

  /** Finishes a trace of counts whose steps came from `gpus` source GPUs; undefined: nobody knows from which. */
  counts(known: KnownHeader, has: CountColumns): OpenTrace<CountTraceWriter> {
    const header = this.header('counts', known);
    return this.open(header, new CountTraceWriter(header, has, this.sink));
  }

  tokens(known: KnownHeader, has: TokenColumns): OpenTrace<TokenTraceWriter> {
    const header = this.header('tokens', known);
    return this.open(header, new TokenTraceWriter(header, has, this.sink));
  }

  private open<Writer extends CountTraceWriter | TokenTraceWriter>(
    header: TraceHeader,
    writer: Writer,
  ): OpenTrace<Writer> {
    return {
      writer,
      finish: (known) => {
        const complete = { ...header, ...known, notes: this.notes };
        writer.finish(complete);
        return complete;
      },
    };
  }

  private header(kind: TraceHeader['kind'], known: KnownHeader): TraceHeader {
    const { model, phase, source, licence } = this.options;
    return {
      schema: 'epsim/trace@1',
      kind,
      ...known,
      model: model ?? known.model ?? 'unknown',
      phase: phase ?? known.phase,
      source: source ?? known.source ?? `epsim trace import, ${this.format}: ${this.files[0].name}`,
      licence: licence ?? known.licence ?? '',
      notes: [],
    };
  }

  private settle(
    what: string,
    option: string,
    found: number | undefined,
    said: number | undefined,
    most: number,
  ): number {
    if (found !== undefined && said !== undefined && found !== said) {
      throw new TraceError('', `${what} ${found} in the recording, ${said} by ${option}`, 'both alike');
    }
    const value = found ?? said;
    if (value === undefined) {
      throw new TraceError('', `no ${what} in the recording`, `${option}, or --model with a preset's name`);
    }
    if (!(Number.isInteger(value) && value >= 1 && value <= most)) {
      throw new TraceError('', `${what} ${value}`, `1 to ${most}`);
    }
    return value;
  }
}

/** What an importer knows of the header before it writes. */
export type KnownHeader = Pick<TraceHeader, 'experts' | 'topK' | 'layerIds'> & Partial<TraceHeader>;

/** A trace that is being written. */
export interface OpenTrace<Writer> {
  writer: Writer;
  /** Ends the trace with what is known of its header only now. */
  finish(known: Partial<TraceHeader>): TraceHeader;
}

/** Puts the file's name before what is wrong in it. */
export async function inFile<T>({ name }: ByteSource, read: () => Promise<T> | T): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof TraceError) throw error.within(name);
    throw error;
  }
}

/** The number in a file's name, as `rank12`; undefined where there is none. */
export function rankOf({ name }: { name: string }): number | undefined {
  const [, rank] = /rank[_-]?(\d+)/.exec(name) ?? [];
  return rank === undefined ? undefined : Number(rank);
}

/** @throws TraceError where ranks are not 0, 1, … each once */
export function checkRanks(ranks: readonly number[], what: string): void {
  const sorted = [...ranks].sort((a, b) => a - b);
  const wrong = sorted.findIndex((rank, i) => rank !== i);
  if (wrong < 0) return;
  const found = sorted.indexOf(sorted[wrong]) !== wrong ? `${sorted[wrong]} twice` : `no rank ${wrong}`;
  throw new TraceError(
    what,
    `${found} among ${sorted.length} files`,
    `ranks 0 to ${sorted.length - 1}, each once`,
  );
}
