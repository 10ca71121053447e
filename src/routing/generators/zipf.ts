import { z } from 'zod';
import { popularityOptions, type Generator } from './generator.js';
import { popularityDraw } from './popularity-draw.js';

const options = z.strictObject({
  kind: z.literal('zipf'),
  exponent: z.number().min(0).describe('0 is uniform; 1 is the classic law.'),
  ...popularityOptions,
});

/** Popularity ∝ rank^−exponent. */
export const zipf: Generator<z.infer<typeof options>> = {
  kind: 'zipf',
  summary: 'popularity falls with rank as rank^-exponent',
  options,
  prepare({ exponent, permute }, setting) {
    return popularityDraw(setting, permute, (popularity) => {
      for (let rank = 0; rank < popularity.length; rank++) popularity[rank] = Math.pow(rank + 1, -exponent);
    });
  },
};
