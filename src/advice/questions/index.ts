import type { Question } from '../question.js';
import { decodeTarget } from './decode-target.js';
import { epSize } from './ep-size.js';
import { expertsOrAttention } from './experts-or-attention.js';
import { interval } from './interval.js';
import { otherTrace } from './other-trace.js';
import { redundancy, reorderOrReplicate } from './redundancy.js';
import { replicaChoice } from './replica-choice.js';
import { worthItInDecode, worthItInPrefill } from './worth-it.js';

/** All questions, in the order in which they are answered. To add one, add its file here. */
export const questions: readonly Question[] = [
  worthItInPrefill,
  worthItInDecode,
  redundancy,
  reorderOrReplicate,
  replicaChoice,
  interval,
  epSize,
  otherTrace,
  decodeTarget,
  expertsOrAttention,
];
