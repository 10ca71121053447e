import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { FileError, reasonOf } from './file-error.js';

/** Writes a file whole or not at all: aside first, then renamed. @throws FileError */
export async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  const aside = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`);
  try {
    await writeFile(aside, content);
    await rename(aside, path);
  } catch (error) {
    await rm(aside, { force: true });
    throw new FileError(`${path}: found ${reasonOf(error)}, allowed: a file that can be written`);
  }
}

/**
 * Writes a folder of files whole or not at all; one that is there already is replaced.
 * @returns the folder's path
 * @throws FileError
 */
export async function writeFolder(
  parent: string,
  name: string,
  files: Readonly<Record<string, string | Uint8Array>>,
): Promise<string> {
  const target = join(parent, name);
  let aside: string | null = null;
  try {
    await mkdir(parent, { recursive: true });
    aside = await mkdtemp(join(parent, `.${name}.`));
    for (const [file, content] of Object.entries(files)) await writeFile(join(aside, file), content);
    await rm(target, { recursive: true, force: true });
    await rename(aside, target);
    return target;
  } catch (error) {
    if (aside !== null) await rm(aside, { recursive: true, force: true });
    throw new FileError(`${target}: found ${reasonOf(error)}, allowed: a folder that can be written`);
  }
}

/** SHA-256 of texts and bytes, in hexadecimal. */
export function hashOf(parts: readonly (string | ArrayBuffer)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) {
    const bytes = typeof part === 'string' ? Buffer.from(part) : new Uint8Array(part);
    hash.update(`${bytes.byteLength}:`).update(bytes);
  }
  return hash.digest('hex');
}
