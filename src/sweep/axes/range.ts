import { z } from 'zod';
import { MOST_VALUES, placeOf, placeOptions, singleAxis, tidy, type AxisKind } from './axis.js';

const options = z.strictObject({
  kind: z.literal('range'),
  ...placeOptions,
  from: z.number(),
  to: z.number(),
  step: z.number().optional().describe('Distance of two values; the last one is at most `to`.'),
  count: z.int().min(1).max(MOST_VALUES).optional().describe('Values, both ends among them, evenly spaced.'),
});

/** Slack for a step that meets the end up to rounding. */
const SLACK = 1e-9;

/** Numbers at even distances. */
export const range: AxisKind<z.infer<typeof options>> = {
  kind: 'range',
  summary: 'numbers at even distances: from, to, and step or count',
  options,
  create(given) {
    const { from, to, step, count } = given;
    if ((step === undefined) === (count === undefined)) {
      throw new RangeError(
        `found ${step === undefined ? 'neither step nor count' : 'both step and count'}, allowed: one of step and count`,
      );
    }
    if (count !== undefined) {
      return singleAxis(placeOf(given), count, (index) =>
        index === count - 1 && count > 1 ? to : tidy(from + ((to - from) * index) / Math.max(1, count - 1)),
      );
    }
    const steps = (to - from) / step!;
    if (!(steps >= 0 && steps < MOST_VALUES)) {
      throw new RangeError(
        `step: found ${step}, allowed: a step that leads from ${from} to ${to} in fewer than ${MOST_VALUES} values`,
      );
    }
    return singleAxis(placeOf(given), Math.floor(steps + SLACK) + 1, (index) => tidy(from + index * step!));
  },
};
