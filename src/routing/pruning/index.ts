import type { z } from 'zod';
import { keepSharePruning } from './keep-share.js';
import { ratioPruning } from './ratio.js';
import type { PruningRule } from './rule.js';
import { thresholdPruning } from './threshold.js';

/** All prunings, in the order in which they are listed. To add one, add its file here. */
export const prunings = [ratioPruning, keepSharePruning, thresholdPruning] as const;

export type PruningOptions = z.output<(typeof prunings)[number]['options']>;

/** The rule of some options. */
export function pruningOf({ kind }: PruningOptions): PruningRule<PruningOptions> {
  return prunings.find((rule) => rule.kind === kind) as unknown as PruningRule<PruningOptions>;
}
