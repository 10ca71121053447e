import { z } from 'zod';
import { phases } from '../trace/trace.js';

/** Tokens back whose choices a token's choices may follow. */
export const LAGS = [1, 2, 4, 8, 16] as const;

/**
 * A recording's routing as the parameters of a generator.
 *
 * A token of a sequence with profile π picks expert e of a layer with probability
 * Σ_j a_j · [picked by the token lag_j before] + (1 − Σ_j a_j) · π_e, so that in the long run it picks it with
 * probability π_e whatever the memory a. At a position where sequences are alike, π is the position's own, and the
 * profile's distance from popularity counts the less the more alike they are.
 */
export const twinSchema = z.strictObject({
  schema: z.literal('epsim/twin@1'),
  model: z.string(),
  experts: z.int().min(1).max(65_536),
  topK: z.int().min(1),
  layerIds: z.array(z.int().min(0)).min(1).describe("The model's own number of each layer."),
  phase: z.enum(phases).optional(),
  source: z.string().describe('What it was fitted to.'),
  licence: z.string().describe('Licence of the recording.'),
  notes: z.array(z.string()),
  tokens: z.int().min(1).describe('Tokens that it was fitted to.'),
  sequences: z.int().min(0).describe('Sequences that it was fitted to; 0: the recording has none.'),
  popularity: z
    .array(z.array(z.number().min(0).max(1)))
    .describe('Probability that a token picks an expert, [layer][expert]; a layer sums to topK.'),
  opening: z
    .array(z.base64())
    .default([])
    .describe(
      'Probabilities at the first positions of a sequence, where sequences begin alike; each as the picks of a profile. ' +
        'All else describes the tokens after them.',
    ),
  alike: z
    .array(
      z.strictObject({
        position: z.int().min(0).max(65_535).describe('Tokens after the opening that come before it.'),
        share: z.number().min(0).max(1).describe('Share of the tokens after the opening that stand there.'),
        picks: z.base64(),
      }),
    )
    .default([])
    .describe(
      'Later positions at which sequences resemble each other, as within a template whose parts vary in length: the ' +
        'probabilities there, as the picks of a profile. Those of all tokens after the opening are popularity.',
    ),
  memory: z
    .array(z.array(z.number().min(0).max(1)))
    .describe(`Weight of the choices of ${LAGS.join(', ')} tokens before, by layer.`),
  run: z.number().min(1).describe('Mean number of profiles that follow each other as recorded.'),
  profiles: z
    .array(
      z.strictObject({
        tokens: z.int().min(1).describe('Tokens of such a sequence.'),
        domain: z.int().min(0).optional().describe('Index in domains.'),
        picks: z
          .base64()
          .describe(
            "Its probabilities, a byte each, layer by layer: (byte / 255)². Base64. Shifted so that the profiles' mean is popularity.",
          ),
      }),
    )
    .min(1)
    .describe('How sequences differ from each other, in recorded order.'),
  domains: z.array(z.string()).max(65_536).optional(),
});

export type Twin = z.output<typeof twinSchema>;

const STEPS = 255;

/** Probabilities as text, a byte each; small ones are kept finer than large ones. */
export function encodePicks(probabilities: Float64Array): string {
  let text = '';
  for (const p of probabilities)
    text += String.fromCharCode(Math.round(STEPS * Math.sqrt(Math.max(0, Math.min(1, p)))));
  return btoa(text);
}

/** @throws RangeError where the text holds another number of probabilities */
export function decodePicks(text: string, count: number): Float64Array {
  const bytes = atob(text);
  if (bytes.length !== count)
    throw new RangeError(`picks: found ${bytes.length} probabilities, allowed: ${count}, layers · experts`);
  return Float64Array.from(bytes, (char) => (char.charCodeAt(0) / STEPS) ** 2);
}
