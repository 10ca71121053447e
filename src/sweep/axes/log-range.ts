import { z } from 'zod';
import { MOST_VALUES, placeOf, placeOptions, singleAxis, tidy, type AxisKind } from './axis.js';

const options = z.strictObject({
  kind: z.literal('log-range'),
  ...placeOptions,
  from: z.number().positive(),
  to: z.number().positive(),
  count: z.int().min(2).max(MOST_VALUES).describe('Values, both ends among them.'),
  integer: z.boolean().default(false).describe('Round to whole numbers.'),
});

/** Numbers at even ratios. */
export const logRange: AxisKind<z.infer<typeof options>> = {
  kind: 'log-range',
  summary: 'numbers at even ratios: from, to and count',
  options,
  create(given) {
    const { from, to, count, integer } = given;
    const valueAt = (index: number) => {
      const exact = index === count - 1 ? to : tidy(from * Math.pow(to / from, index / (count - 1)));
      return integer ? Math.round(exact) : exact;
    };
    if (integer) {
      for (let i = 1; i < count; i++) {
        if (valueAt(i) !== valueAt(i - 1)) continue;
        throw new RangeError(
          `count: found ${count} whole numbers from ${from} to ${to}, two of them ${valueAt(i)}, allowed: fewer values`,
        );
      }
    }
    return singleAxis(placeOf(given), count, valueAt);
  },
};
