import { z } from 'zod';
import type { RoutingTraits } from '../runtime.js';
import type { Overlap } from './serving-costs.js';

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

/** What a result says of batches that run in parts. */
export function partNotes(
  name: string,
  maxTokens: number | undefined,
  overlap: Overlap,
  { hasTokens, tokensPerGpu }: RoutingTraits,
): string[] {
  const waves = maxTokens === undefined ? 1 : Math.ceil(tokensPerGpu / maxTokens);
  const drawn = hasTokens
    ? ''
    : '; which copies fall to a part is drawn, since the routing holds counts alone';
  return [
    ...(waves > 1
      ? [
          `${name}: batches of ${tokensPerGpu} tokens per GPU run in ${waves} waves of at most ${maxTokens}, each with ` +
            `its own skew and rounding${drawn}`,
        ]
      : []),
    ...(overlap === 'two-batch'
      ? [`${name}: batches run in two halves, each with its own skew and rounding${drawn}`]
      : []),
  ];
}
