import { z } from 'zod';
import { drawOptions, type Generator } from './generator.js';

const options = z.strictObject({ kind: z.literal('balanced'), ...drawOptions });

/**
 * Equal loads: choice j of the batch's token i goes to expert (i + j · ⌊experts / topK⌋) mod experts, the
 * tokens numbered through all source GPUs, so that small batches spread over all GPUs too. (Rounding the
 * stride down keeps a token's experts different whatever topK.)
 */
export const balanced: Generator<z.infer<typeof options>> = {
  kind: 'balanced',
  summary: 'every expert gets the same load',
  options,
  prepare: (_, { gpus, tokensPerGpu, experts, topK }) => ({
    constant: true,
    redraw: () => undefined,
    counts: null,
    tokens(_random, into) {
      const stride = Math.floor(experts / topK);
      for (let token = 0; token < gpus * tokensPerGpu; token++) {
        for (let j = 0; j < topK; j++) into[token * topK + j] = (token + j * stride) % experts;
      }
    },
  }),
};
