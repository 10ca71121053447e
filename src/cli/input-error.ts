import { MeasurementError } from '../calibration/index.js';
import { FileError, MissingPackageError } from '../files/index.js';
import { TraceError } from '../routing/index.js';
import { ScenarioError } from '../scenario/index.js';
import { RefusalError } from '../simulation/index.js';

/** Usage that commander can't see to be wrong. */
export class UsageError extends Error {
  override name = 'UsageError';
}

const INPUT_ERRORS = [
  FileError,
  TraceError,
  ScenarioError,
  RefusalError,
  MeasurementError,
  MissingPackageError,
  UsageError,
];

/** Whether an error is the user's to mend, with a message that says how. */
export function isInputError(error: unknown): error is Error {
  return INPUT_ERRORS.some((kind) => error instanceof kind);
}

/** Work that a signal has ended, with the exit code that shells expect then. */
export class Interrupted extends Error {
  override name = 'Interrupted';

  constructor(
    message: string,
    readonly exitCode: number,
  ) {
    super(message);
  }
}
