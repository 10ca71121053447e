import { z } from 'zod';
import { taskOnly, type Objective } from './objective.js';

const options = z.strictObject({ kind: z.literal('none') });

/** The task alone: routers collapse on experts that were a little better at first. */
export const none: Objective<z.infer<typeof options>> = {
  kind: 'none',
  summary: 'the task alone',
  options,
  notSimulated: [],
  start: (_, setting) => taskOnly(setting),
};
