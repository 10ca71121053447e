import { join } from 'node:path';
import { exists, FileError, foldersIn, readJson } from '../files/index.js';
import type { Result } from '../simulation/index.js';

/** Name of the result in its folder. */
const RESULT = 'result.json';

/** Folders that a message names. */
const MOST_NAMED = 8;

/**
 * Reads a result by its file or the folder that holds it.
 * @returns what the file holds, to be checked, and its path
 * @throws FileError
 */
export async function readResultFile(path: string): Promise<{ json: unknown; file: string }> {
  const file = exists(join(path, RESULT)) ? join(path, RESULT) : path;
  if (file === path) await checkNotTheirParent(path);
  const json = await readJson(file);
  if ((json as Partial<Result> | null)?.schema !== 'epsim/result@1' && !Array.isArray(json)) {
    throw new FileError(
      `${file}: found no result, allowed: a file that epsim run --out or --format json wrote`,
    );
  }
  return { json, file };
}

/** @throws FileError where a path is a folder that holds no result of its own */
async function checkNotTheirParent(path: string): Promise<void> {
  const folders = await foldersIn(path);
  if (folders === null) return;
  const results = folders.map((name) => join(path, name)).filter((folder) => exists(join(folder, RESULT)));
  if (results.length === 0) {
    throw new FileError(
      `${path}: found a folder without ${RESULT}, allowed: a folder that epsim run --out wrote, or its ${RESULT}`,
    );
  }
  const rest = results.length - MOST_NAMED;
  throw new FileError(
    `${path}: found a folder of ${results.length} results, allowed: one of them: ` +
      `${results.slice(0, MOST_NAMED).join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`,
  );
}
