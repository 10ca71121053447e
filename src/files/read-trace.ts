import { existsSync } from 'node:fs';
import {
  readNativeTrace,
  readRecording,
  RECORDING_PARTS,
  TraceError,
  type RecordingParts,
  type Trace,
} from '../routing/index.js';
import { FileError } from './file-error.js';
import { locate, readBytes } from './read.js';

/** A trace and the bytes that it was read from, for hashing. */
export interface OpenedTrace {
  trace: Trace;
  bytes: ArrayBuffer[];
}

/**
 * Opens a native trace (`.parquet`) or a numpy recording (the common prefix of its files).
 * @param path as the scenario says it
 * @param topK the model's, for recordings that don't say it
 * @throws FileError or TraceError
 */
export async function readTrace(path: string, baseDir: string, topK?: number): Promise<OpenedTrace> {
  const located = locate(path, baseDir);
  try {
    if (located.endsWith('.parquet')) {
      const bytes = await readBytes(located);
      return { trace: await readNativeTrace(bytes), bytes: [bytes] };
    }
    const parts: RecordingParts = {};
    for (const part of RECORDING_PARTS) {
      const file = `${located}.${part}`;
      if (existsSync(file)) parts[part] = await readBytes(file);
    }
    if (Object.keys(parts).length === 0) throw new FileError(missingRecording(path, located));
    return {
      trace: await readRecording(parts, topK),
      bytes: Object.values(parts as Record<string, ArrayBuffer>),
    };
  } catch (error) {
    if (error instanceof TraceError) throw error.within(located);
    throw error;
  }
}

function missingRecording(path: string, located: string): string {
  const inShared = /(?:^|\/)shared\//.test(path);
  return (
    `${located}: found no recording there, allowed: the common prefix of ${RECORDING_PARTS.join(', ')}, or a .parquet file` +
    (inShared
      ? '. This scenario replays a recording that is not part of epsim: put its folder at that place, or say in ' +
        'EPSIM_SHARED where the shared folder is'
      : '')
  );
}
