import { z } from 'zod';
import type { AxisKind } from './axis.js';
import { list } from './list.js';
import { logRange } from './log-range.js';
import { range } from './range.js';

const pairable = [list, range, logRange] as const;

const options = z.strictObject({
  kind: z.literal('zip'),
  axes: z
    .array(z.discriminatedUnion('kind', pairable.map(({ options }) => options) as never))
    .min(2)
    .max(100)
    .describe('Axes of equal length, which go forward together.'),
});

type Options = Omit<z.infer<typeof options>, 'axes'> & {
  axes: z.infer<(typeof pairable)[number]['options']>[];
};

/** Several places that change together. */
export const zip = {
  kind: 'zip',
  summary: 'paired axes: the first values together, then the second ones, and so on',
  options: options as unknown as z.ZodType<Options>,
  create({ axes }) {
    const parts = axes.map((axis) => pairable.find(({ kind }) => kind === axis.kind)!.create(axis as never));
    const [first] = parts;
    const other = parts.findIndex(({ length }) => length !== first.length);
    if (other >= 0) {
      throw new RangeError(
        `axes[${other}]: found ${parts[other].length} values beside ${first.length}, allowed: as many`,
      );
    }
    const at = (index: number) => parts.flatMap((part) => part.at(index));
    return {
      places: parts.flatMap(({ places }) => places),
      length: first.length,
      at,
      probes: () => Array.from({ length: Math.min(first.length, 256) }, (_, index) => at(index)),
    };
  },
} satisfies AxisKind<Options>;
