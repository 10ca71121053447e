import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { basename } from 'node:path';
import type { ByteSource } from '../routing/index.js';
import { FileError, reasonOf } from './file-error.js';

/** Bytes that are hashed at a time. */
const CHUNK = 2 ** 20;

/** A file that is open for reading in parts. */
export interface OpenFile extends ByteSource {
  readonly path: string;
  close(): Promise<void>;
}

/** @throws FileError */
export async function openBytes(path: string): Promise<OpenFile> {
  try {
    const handle = await open(path);
    const stat = await handle.stat();
    if (!stat.isFile()) {
      await handle.close();
      throw new Error(stat.isDirectory() ? 'a folder' : 'something that is no file');
    }
    return {
      path,
      name: basename(path),
      byteLength: stat.size,
      async read(start, end) {
        const bytes = new Uint8Array(Math.max(0, end - start));
        let filled = 0;
        while (filled < bytes.length) {
          const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, start + filled);
          if (bytesRead === 0) {
            throw new FileError(
              `${path}: found its end at byte ${start + filled}, allowed: a file that stays as it is`,
            );
          }
          filled += bytesRead;
        }
        return bytes;
      },
      close: () => handle.close(),
    };
  } catch (error) {
    throw new FileError(`${path}: found ${reasonOf(error)}, allowed: a file that can be read`);
  }
}

/** SHA-256 of a file, in hexadecimal. */
export async function hashOfFile(file: ByteSource): Promise<string> {
  const hash = createHash('sha256');
  for (let at = 0; at < file.byteLength; at += CHUNK) {
    hash.update(await file.read(at, Math.min(at + CHUNK, file.byteLength)));
  }
  return hash.digest('hex');
}
