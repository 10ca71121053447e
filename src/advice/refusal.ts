import { TraceError } from '../routing/index.js';
import { ScenarioError } from '../scenario/index.js';
import { RefusalError } from '../simulation/index.js';
import { Unanswerable } from './question.js';

/** Whether an error says that a run can't be, with the reason, and is no fault of the program. */
export function isInputRefusal(error: unknown): error is Error {
  return [Unanswerable, TraceError, ScenarioError, RefusalError].some((kind) => error instanceof kind);
}
