import { randomLogNormal } from 'd3-random';
import { z } from 'zod';
import { popularityOptions, type Generator } from './generator.js';
import { popularityDraw } from './popularity-draw.js';

const options = z.strictObject({
  kind: z.literal('log-normal'),
  sigma: z.number().min(0).max(20).describe('Standard deviation of the logarithm of popularity.'),
  ...popularityOptions,
});

/** Popularity is log-normal: what fits recorded loads of DeepSeek-V3 best (deepseek-ai/DeepEP PR 393). */
export const logNormal: Generator<z.infer<typeof options>> = {
  kind: 'log-normal',
  summary: 'popularity is log-normal with a given sigma',
  options,
  prepare({ sigma, permute }, setting) {
    return popularityDraw(setting, permute, (popularity, random) => {
      const draw = randomLogNormal.source(random)(0, sigma);
      for (let e = 0; e < popularity.length; e++) popularity[e] = draw();
      popularity.sort().reverse();
    });
  },
};
