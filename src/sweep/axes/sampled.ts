import { z } from 'zod';
import { placeOf, placeOptions, tidy, type Axis } from './axis.js';

/** One place of a sampled axis: where its values lie. */
const dimension = z.discriminatedUnion('distribution', [
  z
    .strictObject({
      distribution: z.literal('uniform'),
      ...placeOptions,
      from: z.number(),
      to: z.number(),
      integer: z.boolean().default(false).describe('Whole numbers, both ends among them.'),
    })
    .describe('Every value between the ends is as likely.'),
  z
    .strictObject({
      distribution: z.literal('log-uniform'),
      ...placeOptions,
      from: z.number().positive(),
      to: z.number().positive(),
      integer: z.boolean().default(false).describe('Round to whole numbers.'),
    })
    .describe('Every ratio is as likely.'),
  z
    .strictObject({ distribution: z.literal('choice'), ...placeOptions, values: z.array(z.json()).min(1) })
    .describe('Every value of the list is as likely.'),
]);

export type Dimension = z.infer<typeof dimension>;

/** Options that every sampled axis has. */
export const sampledOptions = {
  points: z.int().min(1).max(100_000_000).describe('Points to draw.'),
  seed: z.union([z.int(), z.string().min(1)]).default(1),
  over: z.array(dimension).min(1).describe('The places that are drawn together.'),
};

/** An axis whose settings are made of numbers in [0, 1), one by dimension. */
export function sampledAxis(
  { points, over }: { points: number; over: readonly Dimension[] },
  unit: (index: number, dimension: number) => number,
): Axis {
  return {
    places: over.map((dimension) =>
      placeOf(dimension, dimension.distribution === 'choice' ? dimension.values : undefined),
    ),
    length: points,
    at: (index) => over.map((dimension, d) => valueAt(dimension, unit(index, d))),
    probes() {
      const first = over.map((dimension) => extremes(dimension)[0]);
      return over.flatMap((dimension, d) =>
        extremes(dimension).map((value) => first.map((other, i) => (i === d ? value : other))),
      );
    },
  };
}

/** The value below which a share `u` of the distribution lies. */
function valueAt(dimension: Dimension, u: number): unknown {
  switch (dimension.distribution) {
    case 'choice':
      return dimension.values[Math.floor(u * dimension.values.length)];
    case 'uniform': {
      const { from, to, integer } = dimension;
      return integer ? from + Math.floor(u * (to - from + 1)) : tidy(from + u * (to - from));
    }
    case 'log-uniform': {
      const { from, to, integer } = dimension;
      const value = tidy(from * Math.pow(to / from, u));
      return integer ? Math.round(value) : value;
    }
  }
}

function extremes(dimension: Dimension): unknown[] {
  return dimension.distribution === 'choice' ? dimension.values : [dimension.from, dimension.to];
}
