import { parquetMetadataAsync, parquetRead, type AsyncBuffer, type FileMetaData } from 'hyparquet';
import type { ByteSource } from '../bytes.js';
import { boundedCompressors, checkGroups, checkPages } from './parquet-guard.js';
import { AS_RECORDED, TraceError } from './trace.js';

/** A value of a Parquet column. */
type Cell = string | number | bigint | boolean | null;
/** Values of one column in one row group. */
export type Cells = ArrayLike<Cell>;

/** An opened Parquet file. */
export interface ParquetFile {
  metadata: FileMetaData;
  rows: number;
  /** Names of the columns. */
  columns: readonly string[];
  /** Value of a key of the file's own metadata. */
  valueOf(key: string): string | undefined;
  /** Row groups in turn: the number of their first row, and the wanted columns by name. */
  groups(
    columns: readonly string[],
  ): AsyncGenerator<{ first: number; rows: number; cells: Map<string, Cells> }>;
}

/** @throws TraceError where the file is no Parquet file that can be read */
export async function openParquet(source: ByteSource): Promise<ParquetFile> {
  const file: AsyncBuffer = {
    byteLength: source.byteLength,
    slice: async (start, end = source.byteLength) => {
      const bytes = await source.read(start, Math.min(end, source.byteLength));
      return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    },
  };
  let metadata: FileMetaData;
  try {
    metadata = await parquetMetadataAsync(file, { geoparquet: false });
    checkGroups(metadata, source.byteLength);
  } catch (error) {
    throw new TraceError(
      '',
      `not a Parquet file that can be read (${(error as Error).message})`,
      AS_RECORDED,
    );
  }
  return {
    metadata,
    rows: metadata.row_groups.reduce((sum, group) => sum + Number(group.num_rows), 0),
    columns: metadata.schema.slice(1).map(({ name }) => name),
    valueOf: (wanted) => metadata.key_value_metadata?.find(({ key }) => key === wanted)?.value,
    async *groups(columns) {
      let first = 0;
      for (let group = 0; group < metadata.row_groups.length; group++) {
        const rows = Number(metadata.row_groups[group].num_rows);
        const cells = await readGroup(file, metadata, group, first, rows, columns);
        if (rows > 0) yield { first, rows, cells };
        first += rows;
      }
    },
  };
}

async function readGroup(
  file: AsyncBuffer,
  metadata: FileMetaData,
  group: number,
  first: number,
  rows: number,
  columns: readonly string[],
): Promise<Map<string, Cells>> {
  const cells = new Map<string, Cells>();
  const joined = new Map<string, Cell[]>();
  try {
    await checkPages(file, metadata, group, columns);
    await parquetRead({
      file,
      metadata,
      compressors: boundedCompressors,
      columns: [...columns],
      rowStart: first,
      rowEnd: first + rows,
      onChunk({ columnName, columnData, rowStart }) {
        const data = columnData as Cells;
        if (rowStart === first && data.length === rows) {
          cells.set(columnName, data);
          return;
        }
        let column = joined.get(columnName);
        if (!column) {
          column = new Array<Cell>(rows).fill(null);
          joined.set(columnName, column);
          cells.set(columnName, column);
        }
        const at = rowStart - first;
        for (let i = 0; i < data.length && at + i < rows; i++) column[at + i] = data[i];
      },
    });
  } catch (error) {
    throw new TraceError('', `data that can't be decoded (${(error as Error).message})`, AS_RECORDED);
  }
  return cells;
}
