import type { ByteSource } from '../../bytes.js';
import { TraceError, type TraceHeader } from '../../trace/trace.js';
import { lines } from '../containers/lines.js';
import { CountSteps } from '../count-steps.js';
import { inFile, type ImportJob, type TraceFormat } from '../format.js';
import { readTable, TEXT_COLUMNS, type Table } from './columns.js';

/** A plain table: with the names of columns in its first line, or numbers alone, layers × experts. */
export const csv: TraceFormat = {
  name: 'csv',
  summary: 'CSV: columns of the native format by name, or a matrix of copies, layers × experts',
  detects: (files) => files.length === 1 && /\.(csv|tsv|txt)$/.test(files[0].name),
  async read(job) {
    const [file] = job.files;
    if (job.files.length > 1) throw new TraceError('', `${job.files.length} files`, 'one table');
    return inFile(file, async () => {
      for await (const { text } of lines(file)) {
        const cells = split(text);
        const named = cells.some((cell) => cell === '' || Number.isNaN(Number(cell)));
        return named ? readTable(job, tableOf(file, cells)) : readMatrix(job, file);
      }
      throw new TraceError('', 'an empty file', 'a table');
    });
  },
};

function split(line: string): string[] {
  return line.split(line.includes('\t') ? '\t' : ',').map((cell) => cell.trim().replace(/^"(.*)"$/, '$1'));
}

function tableOf(file: ByteSource, columns: readonly string[]): Table {
  return {
    columns,
    async *rows(wanted) {
      const places = wanted.map((name) => columns.indexOf(name));
      let first = true;
      for await (const { number, text } of lines(file)) {
        if (first) {
          first = false;
          continue;
        }
        const cells = split(text);
        const place = `line ${number}`;
        if (cells.length !== columns.length) {
          throw new TraceError(place, `${cells.length} cells`, `${columns.length}, one for each column`);
        }
        yield {
          place,
          values: places.map((at, i) => {
            const cell = cells[at];
            return TEXT_COLUMNS.includes(wanted[i]) || cell === '' ? cell : Number(cell);
          }),
        };
      }
    },
  };
}

async function readMatrix(job: ImportJob, file: ByteSource): Promise<TraceHeader> {
  const layers: Int32Array[] = [];
  for await (const { number, text } of lines(file)) {
    const counts = split(text).map(Number);
    const wrong = counts.findIndex((count) => !(Number.isInteger(count) && count >= 0 && count < 2 ** 31));
    const experts = layers[0]?.length ?? counts.length;
    if (wrong >= 0 || counts.length !== experts) {
      const found =
        wrong >= 0 ? `${split(text)[wrong].slice(0, 40)} as number ${wrong}` : `${counts.length} numbers`;
      throw new TraceError(`line ${number}`, found, `${experts} whole numbers ≥ 0`);
    }
    layers.push(Int32Array.from(counts));
  }
  const experts = job.experts(layers[0].length);
  const steps = new CountSteps(job, {
    experts,
    topK: job.topK(undefined, experts),
    layerIds: [...layers.keys()],
  });
  job.note('counts without source GPUs: every expert’s copies are split evenly over the GPUs');
  steps.add('', layers);
  return steps.finish();
}
