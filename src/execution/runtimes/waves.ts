import { z } from 'zod';

/** Options of runtimes that can run a large batch in waves. */
export const waveOptions = {
  maxTokensPerWave: z
    .int()
    .min(1)
    .optional()
    .describe(
      "Tokens per GPU that the layer takes at once; a larger batch runs in waves one after another, every GPU's " +
        "tokens split evenly (TensorRT-LLM's moe_config.max_num_tokens): more time instead of more memory. Default: " +
        'no limit.',
    ),
};
