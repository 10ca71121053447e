import { load } from 'npyjs';
import { z } from 'zod';
import {
  checkExperts,
  checkSequenceStarts,
  phases,
  TraceError,
  type CountTrace,
  type TokenTrace,
  type Trace,
  type TraceHeader,
} from './trace.js';

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
});

/**
 * Reads a recording in numpy files: `experts.npy` [tokens][layers][topK] with `seq_offsets.npy` (first token
 * of every sequence, and the end), or only `counts.csv` (layers × experts); both with `meta.json`.
 *
 * @throws TraceError that names the part, what was found and what is allowed
 */
export async function readRecording(parts: RecordingParts, topK: number | undefined): Promise<Trace> {
  const header = readMeta(parts['meta.json'], topK);
  const counts = parts['counts.csv'] ? readCountsCsv(parts['counts.csv'], header) : null;
  if (parts['experts.npy']) {
    const trace = await readTokens(parts, header);
    if (counts) checkCounts(trace, counts);
    return trace;
  }
  if (counts) return countTrace(header, counts);
  throw new TraceError('found neither experts.npy nor counts.csv, allowed: at least one of them');
}

function readMeta(bytes: ArrayBuffer | undefined, topK: number | undefined): TraceHeader {
  if (!bytes)
    throw new TraceError('meta.json is missing; it says what model and how many experts were recorded');
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw new TraceError(`meta.json: ${(error as Error).message}`);
  }
  const parsed = metaSchema.safeParse(json);
  if (!parsed.success) throw new TraceError(`meta.json: ${z.prettifyError(parsed.error)}`);
  const meta = parsed.data;
  const layerIds =
    meta.layer_ids ?? meta.layer_ids_recorded ?? Array.from({ length: meta.layers }, (_, layer) => layer);
  if (layerIds.length !== meta.layers) {
    throw new TraceError(
      `meta.json: found ${layerIds.length} layer ids, allowed: as many as layers = ${meta.layers}`,
    );
  }
  const known = meta.topk ?? topK;
  if (known === undefined) throw new TraceError('meta.json: topk is missing, and no model says it');
  return {
    schema: 'epsim/trace@1',
    kind: 'tokens',
    model: meta.model,
    experts: meta.experts,
    topK: known,
    layerIds,
    phase: phases.find((phase) => meta.phase?.toLowerCase().startsWith(phase)),
    source: meta.source,
    licence: '',
    notes: [],
  };
}

async function readTokens(parts: RecordingParts, header: TraceHeader): Promise<TokenTrace> {
  const layers = header.layerIds.length;
  const { data, shape } = await readNpy('experts.npy', parts['experts.npy']!);
  if (!(data instanceof Uint8Array || data instanceof Uint16Array)) {
    throw new TraceError(
      `experts.npy: found ${data.constructor.name}, allowed: unsigned bytes or 16-bit numbers`,
    );
  }
  if (shape.length !== 3 || shape[1] !== layers || shape[2] !== header.topK || shape[0] === 0) {
    throw new TraceError(
      `experts.npy: found shape [${shape.join(', ')}], allowed: [tokens, ${layers} layers, top ${header.topK}]`,
    );
  }
  const tokens = shape[0];
  const trace: TokenTrace = {
    kind: 'tokens',
    header,
    tokens,
    experts: data,
    weights: null,
    sequenceStarts: null,
    batches: null,
  };
  checkExperts(trace);
  if (parts['weights.npy']) {
    const weights = await readNpy('weights.npy', parts['weights.npy']);
    if (!(weights.data instanceof Float32Array) || weights.data.length !== data.length) {
      throw new TraceError(
        `weights.npy: found shape [${weights.shape.join(', ')}], allowed: float32 like experts.npy`,
      );
    }
    trace.weights = weights.data;
  }
  if (parts['seq_offsets.npy']) {
    const starts = await readNpy('seq_offsets.npy', parts['seq_offsets.npy']);
    trace.sequenceStarts = Int32Array.from(starts.data as Int32Array);
    checkSequenceStarts(trace.sequenceStarts, tokens);
  }
  return trace;
}

async function readNpy(name: string, bytes: ArrayBuffer) {
  let array;
  try {
    array = await load(bytes);
  } catch (error) {
    throw new TraceError(`${name}: not a numpy file that can be read (${(error as Error).message})`);
  }
  if (array.fortranOrder) throw new TraceError(`${name}: found Fortran order, allowed: C order`);
  const data = array.data as unknown as ArrayLike<number> & { constructor: { name: string } };
  const expected = array.shape.reduce((product, size) => product * size, 1);
  if (data.length !== expected) {
    throw new TraceError(
      `${name}: found ${data.length} values, but its header says ${expected}: truncated or corrupt`,
    );
  }
  return { data, shape: array.shape };
}

/** Copies by layer and expert. */
function readCountsCsv(bytes: ArrayBuffer, { layerIds, experts }: TraceHeader): Int32Array[] {
  const lines = new TextDecoder().decode(bytes).trim().split(/\r?\n/);
  if (lines.length !== layerIds.length) {
    throw new TraceError(
      `counts.csv: found ${lines.length} lines, allowed: one for each of ${layerIds.length} layers`,
    );
  }
  return lines.map((line, layer) => {
    const counts = line.split(',').map(Number);
    const wrong = counts.find((count) => !(Number.isInteger(count) && count >= 0));
    if (counts.length !== experts || wrong !== undefined) {
      const found = wrong === undefined ? `${counts.length} numbers` : String(wrong);
      throw new TraceError(
        `counts.csv line ${layer + 1}: found ${found}, allowed: ${experts} whole numbers ≥ 0`,
      );
    }
    return Int32Array.from(counts);
  });
}

function checkCounts({ header, experts, tokens }: TokenTrace, counts: Int32Array[]): void {
  const layers = header.layerIds.length;
  const seen = counts.map((layer) => new Int32Array(layer.length));
  for (let i = 0; i < experts.length; i++) seen[Math.floor(i / header.topK) % layers][experts[i]]++;
  counts.forEach((layer, l) =>
    layer.forEach((count, e) => {
      if (count === seen[l][e]) return;
      throw new TraceError(
        `counts.csv and experts.npy disagree: layer ${l}, expert ${e} has ${count} copies in one and ` +
          `${seen[l][e]} in the other (${tokens} tokens): mislabelled or corrupt`,
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
