import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { FileError } from './file-error.js';

/**
 * Rows of a table that `writeTable` wrote.
 * @param columns that are wanted; those that the table lacks are left out
 * @throws FileError
 */
export async function readTable(
  path: string,
  columns: readonly string[],
): Promise<Record<string, unknown>[]> {
  try {
    const file = await asyncBufferFromFile(path);
    const metadata = await parquetMetadataAsync(file);
    const there = new Set(metadata.schema.slice(1).map(({ name }) => name));
    return await parquetReadObjects({ file, metadata, columns: columns.filter((name) => there.has(name)) });
  } catch (error) {
    throw new FileError(`${path}: found ${(error as Error).message}, allowed: a table that epsim wrote`);
  }
}
