import { z } from 'zod';
import { DTYPES } from './dtype.js';
import a100 from './profiles/a100-nominal.json' with { type: 'json' };
import b200 from './profiles/b200-nominal.json' with { type: 'json' };
import gb200 from './profiles/gb200-nominal.json' with { type: 'json' };
import h100 from './profiles/h100-nominal.json' with { type: 'json' };
import h20 from './profiles/h20-nominal.json' with { type: 'json' };
import h200 from './profiles/h200-nominal.json' with { type: 'json' };
import h800 from './profiles/h800-nominal.json' with { type: 'json' };

const rate = z.number().positive();
const seconds = z.number().nonnegative();
const dtypes = z.array(z.enum(DTYPES)).min(1);

const link = z.strictObject({
  bytesPerSecond: rate.describe('What one GPU sends (and receives) at large messages.'),
  latencySeconds: seconds.describe('Time added to the last byte of a message.'),
});

/**
 * Time of the expert stage (both products and the activation) of one GPU:
 *
 *   launch + perActiveExpert · active + (F^q + W^q)^(1/q) + A
 *
 * F: FLOP of the rows, rounded up per expert, over the rate; W: weight bytes of the active experts over
 * their bandwidth; A: activation bytes of the rows over theirs. q ≥ 1 and no negative term keep the form
 * subadditive (Minkowski), which the lower bound of a step needs.
 */
const expertStageSchema = z.strictObject({
  layout: z.enum(['fused', 'loop']).describe('fused: one grouped product; loop: one expert after another.'),
  computeDtype: z.enum(['bf16', 'fp8']).describe('Format in which the products run.'),
  weightDtypes: dtypes.describe('Weight formats that these numbers hold for.'),
  activationDtypes: dtypes.describe('Activation formats that these numbers hold for.'),
  launchSeconds: seconds,
  perActiveExpertSeconds: seconds,
  rowRounding: z.int().min(1).describe('Rows of an expert are rounded up to a multiple of this.'),
  flopPerSecond: rate,
  weightBytesPerSecond: rate,
  softMaxExponent: z.number().min(1).describe('q of the soft maximum; below 1 it would not be subadditive.'),
  activationBytesPerSecond: rate,
});

/** Timings of one GPU and its links. The numbers say where they come from. */
export const profileSchema = z.strictObject({
  schema: z.literal('epsim/profile@1'),
  name: z.string().min(1),
  gpu: z.string().min(1).describe('Name of the GPU that the numbers belong to.'),
  status: z.enum(['first-guess', 'fitted', 'measured', 'software']),
  sources: z.array(z.string()).min(1),
  expertStages: z.array(expertStageSchema).min(1),
  copyBytesPerSecond: rate.describe('Device-to-device copy, bytes read plus bytes written.'),
  gatherBytesPerSecond: rate.describe('Permute, unpermute and the like, bytes read plus bytes written.'),
  nvlink: link,
  nic: link,
  hostLink: link.describe('Host memory to device.'),
  kernelLaunchSeconds: seconds.describe('Host time per launched kernel.'),
  hostSyncSeconds: seconds.describe('Host time per blocking read of a device value.'),
});

export type Profile = z.infer<typeof profileSchema>;
export type ExpertStage = Profile['expertStages'][number];

/** Shipped profiles by name; each belongs to the GPU that it names. */
export const shippedProfiles: readonly Profile[] = [a100, h100, h800, h200, h20, b200, gb200].map((profile) =>
  profileSchema.parse(profile),
);
