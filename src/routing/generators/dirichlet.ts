import { randomGamma } from 'd3-random';
import { z } from 'zod';
import { popularityOptions, type Generator } from './generator.js';
import { popularityDraw } from './popularity-draw.js';

const options = z.strictObject({
  kind: z.literal('dirichlet'),
  concentration: z.number().min(0.01).describe('Small: few experts get nearly all; large: nearly uniform.'),
  ...popularityOptions,
});

/** Popularity is a symmetric Dirichlet draw: normalised gamma draws. */
export const dirichlet: Generator<z.infer<typeof options>> = {
  kind: 'dirichlet',
  summary: 'popularity is a symmetric Dirichlet draw with a given concentration',
  options,
  prepare({ concentration, permute }, setting) {
    return popularityDraw(setting, permute, (popularity, random) => {
      const draw = randomGamma.source(random)(concentration, 1);
      // A gamma draw of a small concentration may round to 0, and not every expert may.
      for (let e = 0; e < popularity.length; e++) popularity[e] = Math.max(draw(), Number.MIN_VALUE);
      popularity.sort().reverse();
    });
  },
};
