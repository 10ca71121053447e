import { HEADER_KEY } from '../../trace/native-columns.js';
import { openParquet, type ParquetFile } from '../../trace/parquet-rows.js';
import { TraceError } from '../../trace/trace.js';
import { inFile, type TraceFormat } from '../format.js';
import { readTable, type Table } from './columns.js';

/** A Parquet file with columns of the native format, as pandas or DuckDB write it. */
export const parquet: TraceFormat = {
  name: 'parquet',
  summary: 'Parquet of pandas, DuckDB, Polars …: columns of the native format by name',
  detects: (files) => files.length === 1 && files[0].text.startsWith('PAR1'),
  async read(job) {
    const [file] = job.files;
    if (job.files.length > 1) throw new TraceError('', `${job.files.length} files`, 'one table');
    return inFile(file, async () => {
      const opened = await openParquet(file);
      if (opened.valueOf(HEADER_KEY) !== undefined) {
        throw new TraceError(
          '',
          'a native trace',
          'a recording of another kind: this one can be replayed as it is',
        );
      }
      return readTable(job, tableOf(opened));
    });
  },
};

function tableOf(file: ParquetFile): Table {
  return {
    columns: file.columns,
    async *rows(wanted) {
      for await (const { first, rows, cells } of file.groups(wanted)) {
        const columns = wanted.map((name) => {
          const column = cells.get(name);
          if (column === undefined) throw new TraceError('columns', `no ${name}`, 'plain columns');
          return column;
        });
        const values: (number | string)[] = new Array<number | string>(wanted.length);
        for (let row = 0; row < rows; row++) {
          for (let i = 0; i < columns.length; i++) {
            const cell = columns[i][row];
            values[i] = typeof cell === 'string' ? cell : cell === null ? 'nothing' : Number(cell);
          }
          yield { place: `row ${first + row}`, values };
        }
      }
    },
  };
}
