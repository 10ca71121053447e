import { join } from 'node:path';
import { exists, FileError, readJson } from '../files/index.js';
import type { Result } from '../simulation/index.js';

/**
 * Reads a result by its file or the folder that holds it.
 * @returns what the file holds, to be checked, and its path
 * @throws FileError
 */
export async function readResultFile(path: string): Promise<{ json: unknown; file: string }> {
  const file = exists(join(path, 'result.json')) ? join(path, 'result.json') : path;
  const json = await readJson(file);
  if ((json as Partial<Result> | null)?.schema !== 'epsim/result@1' && !Array.isArray(json)) {
    throw new FileError(
      `${file}: found no result, allowed: a file that epsim run --out or --format json wrote`,
    );
  }
  return { json, file };
}
