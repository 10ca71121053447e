import { z } from 'zod';
import { placeOf, placeOptions, singleAxis, type AxisKind } from './axis.js';

const options = z.strictObject({
  kind: z.literal('list'),
  ...placeOptions,
  values: z.array(z.json()).min(1).max(100_000).describe('Any values that the scenario allows there.'),
});

/** The values that are written down. */
export const list: AxisKind<z.infer<typeof options>> = {
  kind: 'list',
  summary: 'values written down one by one',
  options,
  create: (given) =>
    singleAxis(placeOf(given, given.values), given.values.length, (index) => given.values[index]),
};
