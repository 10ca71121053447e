import { z } from 'zod';
import { DTYPES } from './dtype.js';
import a100 from './profiles/a100-nominal.json' with { type: 'json' };
import b200 from './profiles/b200-fitted-network.json' with { type: 'json' };
import gb200 from './profiles/gb200-nominal.json' with { type: 'json' };
import h100 from './profiles/h100-fitted.json' with { type: 'json' };
import h20 from './profiles/h20-nominal.json' with { type: 'json' };
import h200 from './profiles/h200-fitted.json' with { type: 'json' };
import h800 from './profiles/h800-nominal.json' with { type: 'json' };

const rate = z.number().positive();
const seconds = z.number().nonnegative();
const dtypes = z.array(z.enum(DTYPES)).min(1);

const fraction = z.number();

/** 5th and 95th percentile of measured / predicted. */
const range = z.tuple([rate, rate]);

/** How far a fitted form is from rows that it was not fitted on; errors are predicted / measured − 1. */
const accuracySchema = z.strictObject({
  how: z.string().min(1).describe('Which rows were left out, e.g. one model shape after another.'),
  rows: z.int().min(1),
  mape: fraction.describe('Mean of the absolute error.'),
  median: fraction.describe('Median of the absolute error.'),
  bias: fraction.describe('Mean error.'),
  sharedRange: range.describe(
    'measured / predicted that the rows of one shape have in common, for a shape that was not measured (90 %).',
  ),
  rowRange: range.describe('measured / predicted of a row beside what its shape has in common (90 %).'),
  skewRange: range
    .nullable()
    .default(null)
    .describe(
      'The same of a ratio: time of a skewed over that of the balanced row of one setting; null where no skewed rows ' +
        'were measured.',
    ),
  groups: z
    .array(
      z.strictObject({
        group: z.string(),
        rows: z.int().min(1),
        mape: fraction,
        median: fraction,
        bias: fraction,
      }),
    )
    .default([]),
});

export type Accuracy = z.infer<typeof accuracySchema>;

/** Factors by which the truth may lie below and above a prediction (90 %). */
export type Range = z.infer<typeof range>;

/**
 * What one GPU's port takes for b bytes: latency + ramp · √b + b / bandwidth. The root stands for pipelines
 * that fill and protocols that change with size; it keeps the form subadditive.
 */
const linkSchema = z.strictObject({
  bytesPerSecond: rate.describe('What one GPU sends (and receives) at large messages.'),
  latencySeconds: seconds.describe('Time added to the last byte of a message.'),
  rampSecondsPerRootByte: seconds.default(0).describe('Time added per root of the bytes through the port.'),
  accuracy: accuracySchema.optional(),
});

export type Link = z.infer<typeof linkSchema>;

/** A DeepEP kernel: the slower of NVLink and NIC, on top of what a call costs anyway. */
const tokenExchangeSchema = z.strictObject({
  mode: z.enum(['normal', 'low-latency']),
  direction: z.enum(['dispatch', 'combine']),
  across: z.boolean().describe('Between nodes, or inside one: the kernels take other ways.'),
  latencySeconds: seconds,
  latencySecondsPerNode: seconds.describe('Added for every node beyond the first.'),
  rampSecondsPerRootByte: seconds,
  nvlinkBytesPerSecond: rate,
  nicBytesPerSecond: rate.nullable().describe('null inside a node.'),
  accuracy: accuracySchema,
});

export type TokenExchangeCost = z.infer<typeof tokenExchangeSchema>;

/** Times of one shape that were measured at many sizes, as factors on the form; see `lookupFactor`. */
const lookupSchema = z
  .strictObject({
    hiddenSize: z.int().min(1),
    expertHiddenSize: z.int().min(1),
    slots: z.int().min(1).describe('Experts that the GPU holds.'),
    rows: z.array(z.int().min(1)).min(2).describe('Rows of balanced batches, ascending.'),
    factors: z.array(rate).min(2).describe('measured / form at these rows.'),
  })
  .refine(
    ({ rows, factors }) => rows.length === factors.length && rows.every((n, i) => i === 0 || n > rows[i - 1]),
    { error: 'as many factors as rows, rows ascending' },
  );

export type Lookup = z.infer<typeof lookupSchema>;

/**
 * Time of the expert stage (both products and the activation) of one GPU:
 *
 *   launch + perHiddenElement · D + perSlot · slots + perActiveExpert · active + (F^q + W^q)^(1/q) + A + I
 *
 * F: FLOP of the rows, rounded up per expert, and of columns, rounded up to tiles, over the rate; W: weight
 * bytes of the active experts over their bandwidth; A: activation traffic of the rows, (hiddenWidths · D +
 * expertHiddenWidths · H) elements each; I: work per token that enters, inputWidths · D elements and a time
 * per choice. q ≥ 1 and no negative term keep the form subadditive (Minkowski), which the lower bound of a
 * step needs.
 */
const expertStageSchema = z.strictObject({
  kernel: z.string().default('nominal').describe('The implementation that the numbers belong to.'),
  stack: z
    .enum(['serving', 'pytorch'])
    .default('serving')
    .describe("A serving engine's fused kernels, or PyTorch operations launched one by one."),
  layout: z.enum(['fused', 'loop']).describe('fused: one grouped product; loop: one expert after another.'),
  computeDtype: z.enum(['bf16', 'fp8', 'fp32']).describe('Format in which the products run.'),
  weightDtypes: dtypes.describe('Weight formats that these numbers hold for.'),
  activationDtypes: dtypes.describe('Activation formats that these numbers hold for.'),
  launchSeconds: seconds,
  perHiddenElementSeconds: seconds
    .default(0)
    .describe('Fixed time per unit of D: a product of one row walks through D all the same.'),
  perSlotSeconds: seconds.default(0).describe('Bookkeeping per expert that the GPU holds, active or not.'),
  perActiveExpertSeconds: seconds,
  rowRounding: z.int().min(1).describe('Rows of an expert are rounded up to a multiple of this.'),
  columnRounding: z
    .int()
    .min(1)
    .default(1)
    .describe('Output columns of both products are rounded up to a multiple of this, the width of a tile.'),
  flopPerSecond: rate,
  weightBytesPerSecond: rate,
  softMaxExponent: z.number().min(1).describe('q of the soft maximum; below 1 it would not be subadditive.'),
  activationBytesPerSecond: rate,
  hiddenWidths: z.number().nonnegative().default(2).describe('Times that D elements of a row are moved.'),
  expertHiddenWidths: z
    .number()
    .nonnegative()
    .default(6)
    .describe('Times that H elements of a row are moved.'),
  inputWidths: z.number().nonnegative().default(0).describe('Times that D elements of a token are moved.'),
  perChoiceSeconds: seconds.default(0).describe('Time per token and choice, wherever its expert is.'),
  accuracy: accuracySchema.optional(),
  lookups: z.array(lookupSchema).default([]),
  lookupAccuracy: accuracySchema.optional().describe('Of shapes that were measured at many sizes.'),
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
  copyAccuracy: accuracySchema.optional().describe('Of copies and gathers.'),
  nvlink: linkSchema,
  nic: linkSchema,
  hostLink: linkSchema.describe('Host memory to device.'),
  tokenExchanges: z.array(tokenExchangeSchema).default([]).describe('DeepEP kernels that were measured.'),
  weakSpots: z.array(z.string()).default([]).describe('What is known to be wrong or missing.'),
  kernelLaunchSeconds: seconds.describe('Host time per launched kernel.'),
  hostSyncSeconds: seconds.describe('Host time per blocking read of a device value.'),
});

export type Profile = z.infer<typeof profileSchema>;
export type ExpertStage = Profile['expertStages'][number];

/** Shipped profiles by name; each belongs to the GPU that it names. */
export const shippedProfiles: readonly Profile[] = [a100, h100, h800, h200, h20, b200, gb200].map((profile) =>
  profileSchema.parse(profile),
);
