import { stringify } from 'csv-stringify/sync';
import { fileWriter, ParquetWriter } from 'hyparquet-writer';
import { appendFileSync, writeFileSync } from 'node:fs';
import { writeAside } from './write.js';

/** A column of a table, all of whose cells are of one type or null. */
export interface TableColumn {
  name: string;
  type: 'number' | 'boolean' | 'text';
}

type Cell = number | boolean | string | null;

/** Rows of a Parquet row group: the most that are held at once. */
const ROWS_PER_GROUP = 2_000;

/**
 * Writes rows that come batch by batch to a Parquet and a CSV file, whole or not at all. Memory holds one row
 * group, however many rows there are.
 * @returns rows written
 * @throws FileError
 */
export async function writeTable(
  files: { parquet: string; csv: string },
  columns: readonly TableColumn[],
  batches: AsyncIterable<Cell[][]>,
): Promise<number> {
  let rows = 0;
  await writeAside(files.csv, (csv) =>
    writeAside(files.parquet, async (aside) => {
      const parquet = new ParquetTable(aside, columns);
      writeFileSync(csv, stringify([columns.map(({ name }) => name)]));
      for await (const batch of batches) {
        rows += batch.length;
        parquet.add(batch);
        appendFileSync(csv, stringify(batch, { cast: { boolean: String } }));
      }
      parquet.finish();
    }),
  );
  return rows;
}

const TYPES = {
  number: { type: 'DOUBLE' },
  boolean: { type: 'BOOLEAN' },
  text: { type: 'BYTE_ARRAY', converted_type: 'UTF8' },
} as const;

class ParquetTable {
  private readonly writer: ParquetWriter;
  private rows: Cell[][] = [];

  constructor(
    path: string,
    private readonly columns: readonly TableColumn[],
  ) {
    this.writer = new ParquetWriter({
      writer: fileWriter(path),
      schema: [
        { name: 'root', num_children: columns.length },
        ...columns.map(({ name, type }) => ({
          name,
          repetition_type: 'OPTIONAL' as const,
          ...TYPES[type],
        })),
      ],
      createdBy: 'epsim',
    });
  }

  add(rows: Cell[][]): void {
    for (const row of rows) this.rows.push(row);
    while (this.rows.length >= ROWS_PER_GROUP) this.write(this.rows.splice(0, ROWS_PER_GROUP));
  }

  finish(): void {
    if (this.rows.length > 0) this.write(this.rows.splice(0));
    // Files are written at once.
    void this.writer.finish();
  }

  private write(rows: Cell[][]): void {
    void this.writer.write({
      columnData: this.columns.map(({ name }, i) => ({
        name,
        data: rows.map((row) => row[i]),
        offsetIndex: false,
      })),
      rowGroupSize: ROWS_PER_GROUP,
    });
  }
}
