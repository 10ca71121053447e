import { isDeepStrictEqual } from 'node:util';
import { caseKey, measurementsSchema, measurementsText, type Measurements } from '../calibration/index.js';
import { exists, FileError, readJson, writeWhole } from '../files/index.js';

/** What rows must have in common to stand in one file. */
export type Origin = Pick<Measurements, 'source' | 'device' | 'software'>;

type Row = Measurements['rows'][number];

/** A file of measurements that grows row by row; it is valid after every row, whatever happens then. */
export class MeasurementsFile {
  private constructor(
    private readonly path: string,
    private readonly origin: Origin,
    private readonly rows: Row[],
  ) {}

  /**
   * Goes on with a file, or starts one; writes nothing yet.
   * @throws FileError where there is a file of something else, or of another origin
   */
  static async open(path: string, origin: Origin): Promise<MeasurementsFile> {
    if (!exists(path)) return new MeasurementsFile(path, origin, []);
    const found = await readJson(path);
    const parsed = measurementsSchema.safeParse(found);
    if (!parsed.success) {
      const [{ path: at, message }] = parsed.error.issues;
      throw new FileError(
        `${path}: ${at.join('.') || 'the file'}: found no measurements (${message}), allowed: a file that epsim ` +
          'calibrate measure wrote, or a new one',
      );
    }
    for (const part of ['device', 'software', 'source'] as const) {
      if (!isDeepStrictEqual(parsed.data[part], origin[part])) {
        throw new FileError(
          `${path}: found measurements of another ${part}, ${JSON.stringify(parsed.data[part])}, allowed: ` +
            `those of this one, ${JSON.stringify(origin[part])}, or a new file`,
        );
      }
    }
    // Rows stay as they were written, with what a later version may have put in them.
    return new MeasurementsFile(path, origin, (found as Measurements).rows);
  }

  /** Keys of the cases that are there. */
  get cases(): Set<string> {
    return new Set(this.rows.flatMap((row) => ('case' in row ? [caseKey(row.case)] : [])));
  }

  /** @throws FileError */
  async add(row: Row): Promise<void> {
    this.rows.push(row);
    const content: Measurements = { schema: 'epsim/measurements@1', ...this.origin, rows: this.rows };
    await writeWhole(this.path, measurementsText(content));
  }
}
