export { heldOut, partOf, SCORED, type Part } from './parts.js';
export type { Advice, Advised, Answer, Desk, Offline, Question, Ran, Variant } from './question.js';
export { questions } from './questions/index.js';
export { isInputRefusal } from './refusal.js';
