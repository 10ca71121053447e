import { MeasurementError } from '../measurement-error.js';

/** A row of a table: its cells by column, checked when they are asked for. */
export class CsvRow {
  constructor(
    private readonly file: string,
    private readonly line: number,
    private readonly columns: ReadonlyMap<string, number>,
    private readonly cells: readonly string[],
  ) {}

  has(column: string): boolean {
    return this.columns.has(column);
  }

  /** @throws MeasurementError where the cell is empty */
  text(column: string): string {
    const cell = this.cells[this.columns.get(column)!];
    return cell === '' ? this.refuse(column, 'an empty cell', 'a text') : cell;
  }

  /** @throws MeasurementError unless the cell is a whole number of at least 1 */
  count(column: string): number {
    const cell = this.text(column);
    const value = Number(cell);
    return Number.isSafeInteger(value) && value >= 1
      ? value
      : this.refuse(column, cell, 'a whole number of at least 1');
  }

  /** A time as the table has it. @throws MeasurementError unless it is a number above 0 (or 0, where that may be) */
  time(column: string, { zero = false } = {}): number {
    const cell = this.text(column);
    const value = Number(cell);
    return Number.isFinite(value) && (value > 0 || (zero && value === 0))
      ? value
      : this.refuse(column, cell, zero ? 'a time of 0 or more' : 'a time above 0');
  }

  /** @throws MeasurementError unless the cell is a key of `options` */
  choice<T>(column: string, options: Readonly<Record<string, T>>): T {
    const cell = this.text(column);
    if (!Object.hasOwn(options, cell)) {
      this.refuse(column, `'${cell}'`, Object.keys(options).join(', '));
    }
    return options[cell];
  }

  /** @throws MeasurementError always, with this row's place */
  refuse(column: string, found: string, allowed: string): never {
    throw new MeasurementError(this.file, `line ${this.line}, column ${column}`, found, allowed);
  }
}

/** Names of the columns in a table's first line. */
export function csvColumns(text: string): string[] {
  const end = text.search(/[\r\n]/);
  return cellsOf(end < 0 ? text : text.slice(0, end));
}

/**
 * Reads a table of plain cells: no comma or line break inside one, which none of the formats has.
 * @throws MeasurementError for a missing column or a line of another length
 */
export function readCsv(text: string, file: string, needed: readonly string[]): CsvRow[] {
  const [, ...lines] = text.split(/\r?\n/);
  const names = csvColumns(text);
  const columns = new Map(names.map((name, i) => [name, i]));
  const missing = needed.filter((name) => !columns.has(name));
  if (missing.length > 0) {
    throw new MeasurementError(
      file,
      'line 1',
      `no column ${missing.join(', ')}`,
      `a table with the columns ${needed.join(', ')}`,
    );
  }
  const rows: CsvRow[] = [];
  lines.forEach((line, i) => {
    if (line.trim() === '') return;
    const cells = cellsOf(line);
    if (cells.length !== names.length) {
      throw new MeasurementError(
        file,
        `line ${i + 2}`,
        `${cells.length} cells`,
        `${names.length}, one for each column`,
      );
    }
    rows.push(new CsvRow(file, i + 2, columns, cells));
  });
  return rows;
}

function cellsOf(line: string): string[] {
  return line.split(',').map((cell) => cell.trim().replace(/^"(.*)"$/, '$1'));
}
