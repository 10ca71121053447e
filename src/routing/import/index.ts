import type { ByteSink, ByteSource } from '../bytes.js';
import { TraceError, type TraceHeader } from '../trace/trace.js';
import { openZip } from './containers/zip.js';
import { ImportJob, type FilePeek, type ImportOptions, type TraceFormat } from './format.js';
import { csv } from './formats/csv.js';
import { megatronJsonl } from './formats/megatron-jsonl.js';
import { megatronNpz } from './formats/megatron-npz.js';
import { npyCounts, npyTokens } from './formats/npy-array.js';
import { numpyRecording } from './formats/numpy-recording.js';
import { parquet } from './formats/parquet.js';
import { sglang } from './formats/sglang.js';
import { tensorrtLlm } from './formats/tensorrt-llm.js';
import { ultraep } from './formats/ultraep.js';
import { vllmDecodeStats } from './formats/vllm-decode-stats.js';
import { vllmLoad } from './formats/vllm-load.js';
import { vllmRoutedExperts } from './formats/vllm-routed-experts.js';

export type { ImportOptions } from './format.js';

/** Formats of recordings, in the order in which they are tried. */
export const traceFormats: readonly TraceFormat[] = [
  megatronJsonl,
  sglang,
  tensorrtLlm,
  vllmDecodeStats,
  vllmLoad,
  vllmRoutedExperts,
  megatronNpz,
  ultraep,
  numpyRecording,
  parquet,
  npyTokens,
  npyCounts,
  csv,
];

const HEAD_BYTES = 64 * 2 ** 10;
const ALLOWED = `--as with one of ${traceFormats.map(({ name }) => name).join(', ')}`;

/**
 * Makes a native trace of a recording.
 * @param files all files of one recording
 * @param as name of the format; default: what the files look like
 * @returns the name of the format, and the trace's header
 * @throws TraceError where the files are damaged, contradict each other, or lack what nobody says
 */
export async function importTrace(
  files: readonly ByteSource[],
  sink: ByteSink,
  options: ImportOptions = {},
  as?: string,
): Promise<{ format: string; header: TraceHeader }> {
  if (files.length === 0) throw new TraceError('', 'no files', 'at least one');
  const format = as === undefined ? await detect(files) : traceFormats.find(({ name }) => name === as);
  if (format === undefined) throw new TraceError('--as', as!, ALLOWED);
  const header = await format.read(new ImportJob(files, options, format.name, sink));
  return { format: format.name, header };
}

async function detect(files: readonly ByteSource[]): Promise<TraceFormat> {
  const peeks: FilePeek[] = [];
  // A recording of many ranks has as many files of one kind: a few of each end are enough.
  for (const file of files.length > 8 ? [...files.slice(0, 4), ...files.slice(-4)] : files)
    peeks.push(await peek(file));
  const found = traceFormats.find((format) => format.detects(peeks));
  if (found) return found;
  const names = files.slice(0, 3).map(({ name }) => name);
  throw new TraceError(names.join(', '), 'no recording of a known format', ALLOWED);
}

async function peek(file: ByteSource): Promise<FilePeek> {
  const head = await file.read(0, Math.min(HEAD_BYTES, file.byteLength));
  const isZip = head[0] === 0x50 && head[1] === 0x4b;
  return {
    name: file.name,
    head,
    text: new TextDecoder().decode(head),
    members: isZip ? await openZip(file).then((members) => [...members.keys()], damagedZip(file)) : null,
  };
}

const damagedZip = (file: ByteSource) => (error: unknown) => {
  throw error instanceof TraceError ? error.within(file.name) : error;
};
