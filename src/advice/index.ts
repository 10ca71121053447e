export { largestBatch } from './batch.js';
export { withListed } from './candidates.js';
export { heldOut, partOf, SCORED, type Divided, type Part } from './parts.js';
export type { Advice, Advised, Answer, Desk, Offline, Question, Ran, Variant } from './question.js';
export { questions } from './questions/index.js';
export { isInputRefusal } from './refusal.js';
export { Unanswerable } from './question.js';
