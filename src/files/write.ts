import { createHash, randomUUID } from 'node:crypto';
import { appendFileSync, closeSync, existsSync, openSync, writeSync } from 'node:fs';
import { mkdir, open, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { ByteSink } from '../routing/index.js';
import { FileError, reasonOf } from './file-error.js';

/** How the names of files end that are being written. */
export const ASIDE = '.tmp';

/** Writes a file whole or not at all: aside first, then renamed. @throws FileError */
export async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  const aside = asideOf(path);
  try {
    await writeFile(aside, content);
    await rename(aside, path);
  } catch (error) {
    await rm(aside, { force: true });
    throw new FileError(`${path}: found ${reasonOf(error)}, allowed: a file that can be written`);
  }
}

/**
 * Adds a line to a file of one's own, at once: of lines this small, handing each call to another thread costs more
 * than the call. What is cut off in the middle is for the reader to find out.
 * @throws FileError
 */
export function appendLine(path: string, line: string): void {
  try {
    appendFileSync(path, line);
  } catch (error) {
    throw new FileError(`${path}: found ${reasonOf(error)}, allowed: a file that can be written`);
  }
}

/**
 * Writes a file piece by piece, whole or not at all: aside first, then renamed.
 * @param use writes to the sink; what it throws is passed on, and no file is left
 * @throws FileError
 */
export async function writeInPieces<T>(path: string, use: (sink: ByteSink) => Promise<T> | T): Promise<T> {
  const aside = asideOf(path);
  const refuse = (error: unknown) =>
    new FileError(`${path}: found ${reasonOf(error)}, allowed: a file that can be written`);
  let file: number;
  try {
    file = openSync(aside, 'w');
  } catch (error) {
    throw refuse(error);
  }
  try {
    let result: T;
    try {
      result = await use({
        write(bytes) {
          try {
            for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at);
          } catch (error) {
            throw refuse(error);
          }
        },
      });
    } finally {
      closeSync(file);
    }
    await rename(aside, path).catch((error: unknown) => {
      throw refuse(error);
    });
    return result;
  } catch (error) {
    await rm(aside, { force: true });
    throw error;
  }
}

/**
 * Writes a file whole or not at all while others may write the same one, and has it on the disk before it gets
 * its name, so that a loss of power leaves no empty file behind.
 * @param write is given the name to write to
 * @throws FileError
 */
export async function writeAside(path: string, write: (aside: string) => Promise<void>): Promise<void> {
  const aside = asideOf(path);
  try {
    await write(aside);
    const file = await open(aside, 'r+');
    await file.datasync().finally(() => file.close());
    await rename(aside, path);
  } catch (error) {
    await rm(aside, { force: true });
    if (error instanceof FileError) throw error;
    throw new FileError(`${path}: found ${reasonOf(error)}, allowed: a file that can be written`);
  }
}

/** A name of its own beside a file: other processes, also of other machines, may be writing the same one. */
function asideOf(path: string): string {
  return join(dirname(path), `.${basename(path)}.${process.pid}.${randomUUID()}${ASIDE}`);
}

/**
 * Writes a folder of files whole or not at all, readable as the umask says; one that is there already is
 * replaced.
 * @returns the folder's path
 * @throws FileError; folders above it that were made on the way are gone then
 */
export async function writeFolder(
  parent: string,
  name: string,
  files: Readonly<Record<string, string | Uint8Array>>,
): Promise<string> {
  const target = join(parent, name);
  await inNewFolder(parent, target, name, async (aside) => {
    for (const [file, content] of Object.entries(files)) await writeFile(join(aside, file), content);
    await rm(target, { recursive: true, force: true });
    await rename(aside, target);
  });
  return target;
}

/**
 * Makes sure that a folder can be written under `parent`, before a long run whose result is to go there, and
 * leaves nothing behind.
 * @throws FileError
 */
export async function checkFolder(parent: string): Promise<void> {
  const made = await inNewFolder(parent, parent, 'epsim', (aside) => rm(aside, { recursive: true }));
  await removeEmpty(made);
}

/**
 * Hands an empty folder under `parent` to `use`, and clears up where that fails.
 * @param wanted what a message says could not be written
 * @returns the folders above it that had to be made, outermost first
 */
async function inNewFolder(
  parent: string,
  wanted: string,
  name: string,
  use: (aside: string) => Promise<void>,
): Promise<string[]> {
  const made: string[] = [];
  const aside = join(parent, `.${name}.${process.pid}.${randomUUID()}${ASIDE}`);
  try {
    await makeFolders(parent, made);
    await mkdir(aside);
    await use(aside);
    return made;
  } catch (error) {
    await rm(aside, { recursive: true, force: true }).catch(() => undefined);
    await removeEmpty(made);
    throw new FileError(`${wanted}: found ${reasonOf(error)}, allowed: a folder that can be written`);
  }
}

/**
 * Makes a folder and those above it that are missing, one level at a time: Node 20's own way tries for ever
 * where a file system refuses with "not found", as /proc does.
 * @param made is given each folder as it is made
 */
export async function makeFolders(path: string, made: string[] = []): Promise<void> {
  const missing: string[] = [];
  for (let at = resolve(path); !existsSync(at); at = dirname(at)) missing.unshift(at);
  for (const folder of missing) {
    try {
      await mkdir(folder);
      made.push(folder);
    } catch (error) {
      // Another run may have made it meanwhile.
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}

/** Removes folders, the innermost (last) first, that nothing has been put into. */
async function removeEmpty(folders: readonly string[]): Promise<void> {
  for (const folder of [...folders].reverse()) await rmdir(folder).catch(() => undefined);
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
