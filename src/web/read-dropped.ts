import {
  bytesInMemory,
  readNativeTrace,
  readRecording,
  RECORDING_PARTS,
  TraceError,
  type RecordingParts,
  type Trace,
} from '../routing/index.js';
import type { DroppedFile } from './messages.js';

/**
 * The trace in files that were dropped: one native trace (`.parquet`), or the files of a numpy recording.
 * @returns the trace, and the path by which a scenario beside the files would name it
 * @throws TraceError
 */
export async function readDropped(files: readonly DroppedFile[]): Promise<{ trace: Trace; path: string }> {
  const native = files.find(({ name }) => name.endsWith('.parquet'));
  if (native !== undefined) {
    return { trace: await readNativeTrace(bytesInMemory(native.bytes, native.name)), path: native.name };
  }
  const parts: RecordingParts = {};
  let prefix = '';
  for (const part of RECORDING_PARTS) {
    const file = files.find(({ name }) => name.endsWith(`.${part}`));
    if (file === undefined) continue;
    parts[part] = file.bytes;
    prefix = file.name.slice(0, -part.length - 1);
  }
  if (prefix === '') {
    const found = files.map(({ name }) => name).join(', ') || 'nothing';
    throw new TraceError('', found, `a .parquet file, or files that end in ${RECORDING_PARTS.join(', ')}`);
  }
  return { trace: await readRecording(parts, undefined), path: prefix };
}
