import { existsSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { isAbsolute, join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { FileError, reasonOf } from './file-error.js';

/**
 * Where a path of a scenario points: relative paths start at the scenario's folder. What would lie in a
 * folder `shared` that is not there is looked for in EPSIM_SHARED.
 */
export function locate(path: string, baseDir: string): string {
  const direct = isAbsolute(path) ? path : resolve(baseDir, path);
  const [, inShared] = /(?:^|\/)shared\/(.*)$/.exec(path) ?? [];
  const shared = process.env.EPSIM_SHARED;
  if (inShared === undefined || !shared || hasFiles(direct)) return direct;
  return resolve(shared, inShared);
}

/** Whether there is a file or folder. */
export function exists(path: string): boolean {
  return existsSync(path);
}

/** Whether a path, or (a recording's common prefix) anything that starts with it, is there. */
function hasFiles(path: string): boolean {
  return existsSync(path) || existsSync(`${path}.meta.json`);
}

/** @throws FileError */
export async function readBytes(path: string): Promise<ArrayBuffer> {
  try {
    const buffer = await readFile(path);
    return buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength);
  } catch (error) {
    throw new FileError(`${path}: found ${reasonOf(error)}, allowed: a file that can be read`);
  }
}

/** @throws FileError */
export async function readJson(path: string): Promise<unknown> {
  return parseJson(path, await readBytes(path));
}

/** What the bytes (or the text) of a JSON file hold. @throws FileError */
export function parseJson(path: string, content: ArrayBuffer | string): unknown {
  try {
    return JSON.parse(typeof content === 'string' ? content : new TextDecoder().decode(content));
  } catch (error) {
    throw new FileError(`${path}: found ${(error as Error).message}, allowed: JSON`);
  }
}

/** The text of a file (UTF-8), decompressed where it is a gzip file, whatever its name. @throws FileError */
export async function readText(path: string): Promise<string> {
  const bytes = new Uint8Array(await readBytes(path));
  const zipped = bytes[0] === 0x1f && bytes[1] === 0x8b;
  try {
    return new TextDecoder().decode(zipped ? gunzipSync(bytes) : bytes);
  } catch (error) {
    throw new FileError(
      `${path}: found a gzip file that is cut short or damaged (${(error as Error).message}), allowed: a whole one`,
    );
  }
}

/** Paths of files, a folder standing for the files in it in order of their names (not those of its folders). @throws FileError */
export async function listFiles(paths: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const path of paths) {
    try {
      if (!(await stat(path)).isDirectory()) {
        files.push(path);
        continue;
      }
      const entries = await readdir(path, { withFileTypes: true });
      const inside = entries.filter((entry) => entry.isFile() && !entry.name.startsWith('.'));
      if (inside.length === 0) throw new Error('a folder without files');
      files.push(...inside.map(({ name }) => join(path, name)).sort());
    } catch (error) {
      throw new FileError(`${path}: found ${reasonOf(error)}, allowed: a file, or a folder of files`);
    }
  }
  return files;
}

/** Names of the folders in a folder, in order; null where the path is none. @throws FileError */
export async function foldersIn(path: string): Promise<string[] | null> {
  if (!exists(path) || !(await stat(path)).isDirectory()) return null;
  try {
    const entries = await readdir(path, { withFileTypes: true });
    return entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : [])).sort();
  } catch (error) {
    throw new FileError(`${path}: found ${reasonOf(error)}, allowed: a folder that can be read`);
  }
}
