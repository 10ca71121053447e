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
import { hashOfFile, openBytes } from './open-bytes.js';
import { locate, readBytes } from './read.js';
import { openScratch } from './scratch.js';
import { hashOf } from './write.js';

/** A trace and the hash of what it was read from. */
export interface OpenedTrace {
  trace: Trace;
  hash: string;
}

/**
 * Opens a native trace (`.parquet`) or a numpy recording (the common prefix of its files). What a native trace
 * needs beyond its memory goes to a temporary file.
 *
 * @param path as the scenario says it
 * @param topK the model's, for recordings that don't say it
 * @throws FileError or TraceError
 */
export async function readTrace(path: string, baseDir: string, topK?: number): Promise<OpenedTrace> {
  const located = locate(path, baseDir);
  try {
    if (located.endsWith('.parquet')) {
      const file = await openBytes(located);
      try {
        const trace = await readNativeTrace(file, { scratch: openScratch });
        return { trace, hash: await hashOfFile(file) };
      } finally {
        await file.close();
      }
    }
    const parts = await readParts(located);
    if (Object.keys(parts).length === 0) throw new FileError(missingRecording(path, located));
    return {
      trace: await readRecording(parts, topK),
      hash: hashOf(Object.values(parts as Record<string, ArrayBuffer>)),
    };
  } catch (error) {
    if (error instanceof TraceError) throw error.within(located);
    throw error;
  }
}

/** The files of a numpy recording that are there, by part. @throws FileError */
export async function readParts(prefix: string): Promise<RecordingParts> {
  const parts: RecordingParts = {};
  for (const part of RECORDING_PARTS) {
    const file = `${prefix}.${part}`;
    if (existsSync(file)) parts[part] = await readBytes(file);
  }
  return parts;
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
