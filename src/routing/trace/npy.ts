import { load } from 'npyjs';
import { z } from 'zod';
import {
  AS_RECORDED,
  checkExperts,
  checkSequenceStarts,
  metadataError,
  phases,
  TraceError,
  type CountTrace,
  type TokenTrace,
  type Trace,
  type TraceHeader,
} from './trace.js';
import { rowsInMemory } from './token-rows.js';

/** The parts of a recording that share a name, as bytes: NAME.experts.npy and so on. */
export interface RecordingParts {
  'experts.npy'?: ArrayBuffer;
  'weights.npy'?: ArrayBuffer;
  'seq_offsets.npy'?: ArrayBuffer;
  'counts.csv'?: ArrayBuffer;
  'meta.json'?: ArrayBuffer;
}

export const RECORDING_PARTS = [
  'experts.npy',
  'weights.npy',
  'seq_offsets.npy',
  'counts.csv',
  'meta.json',
] as const satisfies readonly (keyof RecordingParts)[];

const metaSchema = z.object({
  model: z.string().default('unknown'),
  phase: z.string().optional(),
  source: z.string().default(''),
  experts: z.int().min(1),
  layers: z.int().min(1),
  topk: z.int().min(1).optional(),
  layer_ids: z.array(z.int()).optional(),
  layer_ids_recorded: z.array(z.int()).optional(),
  sequence_domains: z.array(z.string()).optional(),
  // What the recordings of gpt-oss-20b call them.
  categories: z.array(z.string()).optional(),
  notes: z.array(z.string()).default([]),
  licence: z.string().default(''),
});
type Meta = z.output<typeof metaSchema>;

/**
 * Reads a recording in numpy files: `experts.npy` [tokens][layers][topK] with `seq_offsets.npy` (first token
 * of every sequence, and the end), or only `counts.csv` (layers × experts); both with `meta.json`.
 *
 * @throws TraceError that names the part, what was found and what is allowed
 */
export async function readRecording(parts: RecordingParts, topK: number | undefined): Promise<Trace> {
  const meta = readMeta(parts['meta.json']);
  const header = headerOf(meta, topK);
  const counts = parts['counts.csv'] ? readCountsCsv(parts['counts.csv'], header) : null;
  if (parts['experts.npy']) {
    const trace = await readTokens(parts, header, meta);
    if (counts) checkCounts(trace, counts);
    return trace;
  }
  if (counts) return countTrace(header, counts);
  throw new TraceError('', 'neither experts.npy nor counts.csv', 'at least one of them');
}

function readMeta(bytes: ArrayBuffer | undefined): Meta {
  if (!bytes)
    throw new TraceError(
      'meta.json',
      'no such file',
      'one that says what model and how many experts were recorded',
    );
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw new TraceError('meta.json', (error as Error).message, 'JSON');
  }
  const parsed = metaSchema.safeParse(json);
  if (!parsed.success) throw metadataError('meta.json', parsed.error, json);
  return parsed.data;
}

function headerOf(meta: Meta, topK: number | undefined): TraceHeader {
  const layerIds =
    meta.layer_ids ?? meta.layer_ids_recorded ?? Array.from({ length: meta.layers }, (_, layer) => layer);
  if (layerIds.length !== meta.layers) {
    throw new TraceError('meta.json', `${layerIds.length} layer ids`, `as many as layers = ${meta.layers}`);
  }
  const known = meta.topk ?? topK;
  if (known === undefined)
    throw new TraceError('meta.json', 'no topk, and no model that says it', 'a whole number ≥ 1');
  return {
    schema: 'epsim/trace@1',
    kind: 'tokens',
    model: meta.model,
    experts: meta.experts,
    topK: known,
    layerIds,
    phase: phases.find((phase) => meta.phase?.toLowerCase().startsWith(phase)),
    source: meta.source,
    licence: meta.licence,
    notes: meta.notes,
  };
}

async function readTokens(parts: RecordingParts, header: TraceHeader, meta: Meta): Promise<TokenTrace> {
  const layers = header.layerIds.length;
  const { data, shape } = await readNpy('experts.npy', parts['experts.npy']!);
  if (!(data instanceof Uint8Array || data instanceof Uint16Array)) {
    throw new TraceError('experts.npy', data.constructor.name, 'unsigned bytes or 16-bit numbers');
  }
  if (shape.length !== 3 || shape[1] !== layers || shape[2] !== header.topK || shape[0] === 0) {
    throw new TraceError(
      'experts.npy',
      `shape [${shape.join(', ')}]`,
      `[tokens, ${layers} layers, top ${header.topK}]`,
    );
  }
  const tokens = shape[0];
  checkExperts(data, header);
  let weights: Float32Array | null = null;
  if (parts['weights.npy']) {
    const read = await readNpy('weights.npy', parts['weights.npy']);
    if (!(read.data instanceof Float32Array) || read.data.length !== data.length) {
      throw new TraceError(
        'weights.npy',
        `${read.data.constructor.name} of shape [${read.shape.join(', ')}]`,
        'float32 like experts.npy',
      );
    }
    weights = read.data;
  }
  const trace: TokenTrace = {
    kind: 'tokens',
    header,
    tokens,
    rows: rowsInMemory(tokens, data, weights),
    sequenceStarts: null,
    sequenceDomains: null,
    batches: null,
    phase: null,
    padding: null,
  };
  if (parts['seq_offsets.npy']) {
    const starts = await readNpy('seq_offsets.npy', parts['seq_offsets.npy']);
    trace.sequenceStarts = Int32Array.from(starts.data as Int32Array);
    checkSequenceStarts(trace.sequenceStarts, tokens);
    addDomains(trace, trace.sequenceStarts.length - 1, meta);
  }
  return trace;
}

function addDomains(trace: TokenTrace, sequences: number, meta: Meta): void {
  const names = meta.sequence_domains ?? meta.categories;
  if (names === undefined) return;
  if (names.length !== sequences) {
    const place = `meta.json ${meta.sequence_domains ? 'sequence_domains' : 'categories'}`;
    throw new TraceError(place, `${names.length} names`, `one for each of ${sequences} sequences`);
  }
  const domains = [...new Set(names)].sort();
  trace.header.domains = domains;
  trace.sequenceDomains = Uint16Array.from(names, (name) => domains.indexOf(name));
}

async function readNpy(name: string, bytes: ArrayBuffer) {
  let array;
  try {
    array = await load(bytes);
  } catch (error) {
    throw new TraceError(
      name,
      `not a numpy file that can be read (${(error as Error).message})`,
      AS_RECORDED,
    );
  }
  if (array.fortranOrder) throw new TraceError(name, 'Fortran order', 'C order');
  const data = array.data as unknown as ArrayLike<number> & { constructor: { name: string } };
  const expected = array.shape.reduce((product, size) => product * size, 1);
  if (data.length !== expected) {
    throw new TraceError(name, `${data.length} values, but its header says ${expected}`, AS_RECORDED);
  }
  return { data, shape: array.shape };
}

/** Copies by layer and expert. */
function readCountsCsv(bytes: ArrayBuffer, { layerIds, experts }: TraceHeader): Int32Array[] {
  const lines = new TextDecoder().decode(bytes).trim().split(/\r?\n/);
  if (lines.length !== layerIds.length) {
    throw new TraceError('counts.csv', `${lines.length} lines`, `one for each of ${layerIds.length} layers`);
  }
  return lines.map((line, layer) => {
    const counts = line.split(',').map(Number);
    const wrong = counts.find((count) => !(Number.isInteger(count) && count >= 0));
    if (counts.length !== experts || wrong !== undefined) {
      const found = wrong === undefined ? `${counts.length} numbers` : String(wrong);
      throw new TraceError(`counts.csv line ${layer + 1}`, found, `${experts} whole numbers ≥ 0`);
    }
    return Int32Array.from(counts);
  });
}

function checkCounts({ header, rows, tokens }: TokenTrace, counts: Int32Array[]): void {
  const { experts } = rows.block(0);
  const layers = header.layerIds.length;
  const seen = counts.map((layer) => new Int32Array(layer.length));
  for (let i = 0; i < experts.length; i++) seen[Math.floor(i / header.topK) % layers][experts[i]]++;
  counts.forEach((layer, l) =>
    layer.forEach((count, e) => {
      if (count === seen[l][e]) return;
      throw new TraceError(
        'counts.csv',
        `${count} copies of expert ${e} in layer ${l} where experts.npy has ${seen[l][e]} (${tokens} tokens)`,
        'parts of one recording: these are mislabelled or corrupt',
      );
    }),
  );
}

function countTrace(header: TraceHeader, layers: Int32Array[]): CountTrace {
  const notes = ['counts without source GPUs: every expert’s copies are split evenly over the GPUs'];
  return {
    kind: 'counts',
    header: { ...header, kind: 'counts', notes: [...header.notes, ...notes] },
    steps: [{ calibration: false, layers }],
  };
}
