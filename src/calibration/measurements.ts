import { z } from 'zod';
import { DTYPES } from '../hardware/index.js';

const size = z.int().min(1);
const dtype = z.enum(DTYPES);
const counts = z
  .array(z.int().nonnegative())
  .min(1)
  .refine((rows) => rows.some((n) => n > 0), { error: 'at least one expert with a row' })
  .describe('Rows of every expert on the GPU.');

/** What a backend can time. Sizes are elements, unless they say bytes. */
export const caseSchema = z.discriminatedUnion('op', [
  z.strictObject({
    op: z.literal('expert-stage').describe('Both products and the activation of given rows.'),
    layout: z.enum(['fused', 'loop']),
    hiddenSize: size,
    expertHiddenSize: size,
    weightDtype: dtype,
    activationDtype: dtype,
    counts,
    routing: z.string().describe('Where the counts come from: balanced, power-law, trace, …'),
  }),
  z.strictObject({
    op: z.literal('grouped-gemm').describe('One product per expert: rows × inner by inner × columns.'),
    layout: z.enum(['fused', 'loop']),
    inner: size,
    columns: size,
    dtype,
    counts,
    routing: z.string(),
  }),
  z.strictObject({
    op: z.enum(['permute', 'unpermute']).describe('Copies to their order by expert, or back and summed.'),
    tokens: size,
    topK: size,
    hiddenSize: size,
    dtype,
  }),
  z.strictObject({ op: z.literal('top-k'), tokens: size, experts: size, topK: size }),
  z.strictObject({
    op: z.literal('activation').describe('SiLU of the gate times the up projection.'),
    rows: size,
    expertHiddenSize: size,
    dtype,
  }),
  z.strictObject({
    op: z.literal('copy'),
    direction: z.enum(['device-to-device', 'host-to-device']),
    bytes: size.describe('Bytes copied; a device-to-device copy moves twice as many.'),
  }),
  z.strictObject({ op: z.literal('launch').describe('Host time per launch of an empty kernel.') }),
  z.strictObject({ op: z.literal('host-sync').describe('Host time per blocking read of one device value.') }),
  z.strictObject({
    op: z.literal('gemm-beside-copy').describe('A product while a device-to-device copy runs.'),
    rows: size,
    inner: size,
    columns: size,
    dtype,
    bytes: size,
  }),
]);

/** One thing to time. */
export type Case = z.infer<typeof caseSchema>;

const seconds = z.number().positive();

const timing = {
  kernel: z.string().min(1).describe('The implementation that was timed.'),
  seconds: seconds.describe('Median of one call.'),
  spread: z.number().nonnegative().nullable().describe('Interquartile range over the median.'),
  repeats: size.nullable().describe('Timed calls.'),
};

/** A timed case. */
export const timedSchema = z.object({
  ...timing,
  case: caseSchema,
  aloneSeconds: seconds.optional().describe('gemm-beside-copy: the product without the copy.'),
  longRunSeconds: seconds.optional().describe('One call in a run of several seconds, clocks settled.'),
  clockMHz: z.number().positive().optional(),
  powerWatts: z.number().positive().optional(),
  maxError: z.number().nonnegative().optional().describe('Largest error against a CPU reference, relative.'),
});

export type Timed = z.infer<typeof timedSchema>;

/** A MoE layer of a published table: what one GPU of `expertParallel` takes, the busiest one. */
const moeLayerSchema = z.object({
  ...timing,
  op: z.literal('moe-layer'),
  weightDtype: dtype,
  activationDtype: dtype,
  tokens: size.describe('Tokens of all GPUs together.'),
  hiddenSize: size,
  expertHiddenSize: size,
  experts: size,
  topK: size,
  tensorParallel: size,
  expertParallel: size,
  distribution: z.union([z.literal('balanced'), z.templateLiteral(['power_law_', z.number()])]),
});

export type MoeLayerRow = z.infer<typeof moeLayerSchema>;

/** An NCCL collective. */
const collectiveSchema = z.object({
  ...timing,
  op: z.literal('collective'),
  collective: z.enum(['all-to-all', 'all-gather', 'reduce-scatter', 'all-reduce']),
  gpus: size,
  gpusPerNode: size,
  bytes: size.describe("One GPU's buffer: what it gives to an all-to-all, its share of a gather included."),
});

export type CollectiveRow = z.infer<typeof collectiveSchema>;

/** A DeepEP dispatch or combine. */
const tokenExchangeSchema = z.object({
  ...timing,
  op: z.literal('token-exchange'),
  mode: z.enum(['normal', 'low-latency']),
  direction: z.enum(['dispatch', 'combine']),
  nodes: size,
  gpusPerNode: size,
  hiddenSize: size,
  tokensPerGpu: size,
  topK: size,
  experts: size,
  sms: size.nullable().describe('Streaming multiprocessors that the kernel holds.'),
});

export type TokenExchangeRow = z.infer<typeof tokenExchangeSchema>;

export type PublishedRow = MoeLayerRow | CollectiveRow | TokenExchangeRow;

/** A row of a published table, or of a user's own communication test. */
export const publishedSchema = z.discriminatedUnion('op', [
  moeLayerSchema,
  collectiveSchema,
  tokenExchangeSchema,
]);

/** A file of measurements: who measured what on which device, row by row. */
export const measurementsSchema = z.strictObject({
  schema: z.literal('epsim/measurements@1'),
  source: z.strictObject({
    name: z.string().min(1),
    version: z.string(),
    licence: z.string().describe('Licence of the numbers; own measurements: "own".'),
  }),
  device: z.strictObject({
    name: z.string().min(1).describe('As the driver names it.'),
    kind: z.enum(['gpu', 'cpu', 'software']).describe('software: a GPU interface that a CPU emulates.'),
  }),
  software: z.record(z.string(), z.string()).describe('Versions of drivers and libraries.'),
  rows: z.array(z.union([timedSchema, publishedSchema])).min(1),
});

export type Measurements = z.infer<typeof measurementsSchema>;
