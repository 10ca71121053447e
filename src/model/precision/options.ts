import { z } from 'zod';

const width = z.int().min(1).max(16);

const jsonPath = z.string().regex(/\.json$/, 'the path of a .json file');

/** At which bits a scenario holds the weights of its experts. */
export const precisionSchema = z.strictObject({
  bits: z
    .union([width, z.array(width).min(1), z.array(z.array(width).min(1)).min(1), jsonPath])
    .optional()
    .describe(
      'Bits per weight: of all experts, by expert, by layer and expert, or the path of a plan (epsim plan --precision).',
    ),
  sensitivity: jsonPath
    .optional()
    .describe(
      'Instead of bits: a file with the use and the losses of the experts, from which bits are planned.',
    ),
  averageBits: z
    .number()
    .min(1)
    .max(16)
    .optional()
    .describe('Beside sensitivity: mean bits per weight of a layer’s experts that the plan may spend.'),
  overheadBits: z
    .number()
    .min(0)
    .max(16)
    .default(0.25)
    .describe('Scales and zero points in bits per weight; default: 32 bits per group of 128.'),
  residualShare: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe('Share of channels with a 1-bit residual besides, as a residual quantiser spends on outliers.'),
  dequantisation: z
    .number()
    .gt(0)
    .max(1)
    .default(0.27)
    .describe(
      'Share of the weight bandwidth that kernels reach which de-quantise what they read. Assumed: published speed-ups ' +
        'suggest 0.25 to 0.3.',
    ),
  restBits: width
    .optional()
    .describe(
      'Scope model: bits per weight of all that is not a routed expert, overheadBits beside; memory only. Default: as ' +
        'shipped.',
    ),
});

export type PrecisionOptions = z.output<typeof precisionSchema>;
