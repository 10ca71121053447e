import { z } from 'zod';
import { alfLb } from './alf-lb.js';
import { locmoe } from './locmoe.js';
import { lossFree } from './loss-free.js';
import { lpr } from './lpr.js';
import { none } from './none.js';
import type { Objective } from './objective.js';
import { simbal } from './simbal.js';
import { switchLoss } from './switch.js';
import { zLoss } from './z-loss.js';

/** All objectives, in the order in which they are listed. */
export const objectives = [none, switchLoss, zLoss, simbal, lossFree, alfLb, lpr, locmoe] as const;

export type ObjectiveOptions = ReturnType<(typeof objectives)[number]['options']['parse']>;

/** The objective of parsed options. */
export function objectiveOf({ kind }: Pick<ObjectiveOptions, 'kind'>): Objective<ObjectiveOptions> {
  return objectives.find((objective) => objective.kind === kind) as unknown as Objective<ObjectiveOptions>;
}

/** An objective with its options, told by `kind`. */
export const objectiveSchema = z.discriminatedUnion(
  'kind',
  objectives.map(({ options, summary }) => options.describe(summary)) as never,
) as z.ZodType<ObjectiveOptions>;
