/** Measurements that can't be used: in which file, where in it, what was found, and what is allowed. */
export class MeasurementError extends Error {
  override name = 'MeasurementError';

  constructor(
    readonly file: string,
    readonly place: string,
    readonly found: string,
    readonly allowed: string,
  ) {
    super(`${file}${place ? `: ${place}` : ''}: found ${found}, allowed: ${allowed}`);
  }
}
