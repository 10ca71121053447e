import { z } from 'zod';
import { policies, type PolicyInput, type PolicyOptions } from '../balancing/index.js';
import { offloadSchema, runtimes, trainingSchema, type RuntimeOptions } from '../execution/index.js';
import { clusterPresets, clusterSchema } from '../hardware/index.js';
import { modelPresets, precisionSchema, shapeOverridesSchema, shapeSchema } from '../model/index.js';
import {
  batchingKinds,
  batchings,
  generators,
  phases,
  prunings,
  type BatchingKind,
  type GeneratorOptions,
  type PruningOptions,
} from '../routing/index.js';
import { engines } from './engines.js';

type Names = [string, ...string[]];

const modelNames = Object.keys(modelPresets) as Names;
const clusterNames = Object.keys(clusterPresets) as Names;
const runtimeNames = runtimes.map(({ name }) => name) as [RuntimeName, ...RuntimeName[]];
const policyNames = policies.map(({ kind }) => kind) as [PolicyName, ...PolicyName[]];

type RuntimeName = (typeof runtimes)[number]['name'];
type PolicyName = z.output<(typeof policies)[number]['options']>['kind'];

/** Options that their own files declare, told apart by one key; each described by its summary. */
function union<Output>(
  key: string,
  rivals: readonly { options: z.ZodType; summary: string }[],
): z.ZodType<Output> {
  const options = rivals.map((rival) => rival.options.describe(rival.summary));
  return z.discriminatedUnion(key, options as never);
}

const model = z
  .union([
    z.enum(modelNames),
    z.string().regex(/\.json$/, `${modelNames.join(', ')}, or the path of a Hugging Face config.json`),
    shapeOverridesSchema.extend({ preset: z.enum(modelNames) }),
    shapeSchema,
  ])
  .describe("A preset's name, a preset with overrides, a shape, or the path of a Hugging Face config.json.");

const cluster = z
  .union([z.enum(clusterNames), clusterSchema])
  .describe("A preset's name, or the GPUs and how they are connected.");

const runtime = z
  .union([z.enum(runtimeNames), union<RuntimeOptions>('preset', runtimes)])
  .optional()
  .describe(`A preset's name, or a preset with options; default: that of the engine, or ${runtimeNames[0]}.`);

const engine = z
  .enum(engines.map(({ name }) => name))
  .optional()
  .describe(
    'Take the runtime of this engine where none is given; its balancer is the policy of the same name.',
  );

export type TraceOptions = z.output<typeof trace>;

const trace = z.strictObject({
  kind: z.literal('trace'),
  path: z
    .string()
    .min(1)
    .describe('A native trace (.parquet), or the common prefix of a numpy recording’s files.'),
  batching: z
    .enum(batchingKinds)
    .optional()
    .describe('How steps are formed; default: recorded where the trace has steps, else shuffled.'),
  resample: z
    .boolean()
    .default(false)
    .describe('Go on with whole sequences drawn with replacement when the recording is used up.'),
  padding: z
    .enum(['exclude', 'include'])
    .default('exclude')
    .describe('Whether padding and dummy tokens are replayed, where the recording tells them apart.'),
  candidates: z
    .boolean()
    .default(false)
    .describe(
      'The recording holds more experts of every token than the model uses, with gate weights: those of the largest ' +
        'weights are the router’s choice, all of them candidates for policies that choose among them (laser).',
    ),
  phase: z
    .enum(phases)
    .optional()
    .describe(
      'Replay only the steps or tokens of this phase, where the recording mixes them; default: both.',
    ),
  part: z
    .tuple([z.number().min(0).max(1), z.number().min(0).max(1)])
    .refine(([from, to]) => from < to, 'two shares, the first below the second')
    .optional()
    .describe(
      'Replay only this part of the recording, [from, to] in shares of its tokens, in whole sequences (or steps); ' +
        'default: all after what policies calibrate on. Calibration takes its share from the start either way.',
    ),
});

export type TwinOptions = z.output<typeof twin>;

const twin = z.strictObject({
  kind: z.literal('twin'),
  path: z.string().min(1).describe('A twin that epsim trace fit wrote (.json).'),
  batching: z
    .enum(batchings.map(({ kind }) => kind) as [TokenBatching, ...TokenBatching[]])
    .default('shuffled')
    .describe('How steps are formed of the sequences that the twin draws.'),
});

type TokenBatching = Exclude<BatchingKind, 'recorded'>;

const routing = union<GeneratorOptions | TraceOptions | TwinOptions>('kind', [
  ...generators,
  { options: trace, summary: 'a recording, replayed' },
  { options: twin, summary: "a recording's twin: sequences drawn from what was fitted to it" },
]);

/** As many tokens as 32 bits count. */
const MOST_CACHED = 2 ** 31 - 1;

const variation = z.number().min(0).max(2).describe('Standard deviation over mean.');

const workload = z.strictObject({
  phase: z
    .enum(['prefill', 'decode', 'training'])
    .describe(
      'What the steps stand for. In scope layer prefill and decode change no time and no routing: only a recording of ' +
        'the other phase is warned about, and what makes a step a decode is few tokensPerGpu and batching ' +
        'decode-lockstep. In scope model they decide what attention does. training: a step goes forward and backward ' +
        'through the layers of a stage (see training).',
    ),
  tokensPerGpu: z
    .int()
    .min(1)
    .max(1_048_576)
    .optional()
    .describe('Tokens of every source GPU in a step (decode: its live sequences); default: as recorded.'),
  tokens: z
    .union([z.array(z.int().min(0).max(1_048_576)), z.strictObject({ cv: variation })])
    .optional()
    .describe(
      'Tokens of each source GPU, where they are not all tokensPerGpu: a list, or draws around it with a coefficient of ' +
        'variation. Generators only.',
    ),
  kvTokens: z
    .union([
      z.int().min(0).max(MOST_CACHED),
      z.array(z.int().min(0).max(MOST_CACHED)),
      z.strictObject({ mean: z.int().min(0).max(MOST_CACHED), cv: variation }),
    ])
    .optional()
    .describe(
      'Scope model: tokens in the KV cache of each GPU, for all, as a list, or drawn. Decode: of its live sequences; ' +
        'prefill: what its prompts have cached already (default 0).',
    ),
  promptTokens: z
    .union([z.int().min(1), z.array(z.int().min(1)).min(1)])
    .optional()
    .describe('Scope model, prefill: length of the prompts that a step is made of, or several in turn.'),
  steps: z.int().min(1).max(10_000_000).optional().describe('Steps; default: all that the recording holds.'),
  warmupSteps: z
    .int()
    .min(0)
    .optional()
    .describe('Steps that are simulated but not counted; default: what the policies’ histories need.'),
  routing,
  pruning: union<PruningOptions>('kind', prunings)
    .optional()
    .describe(
      'Experts that tokens skip, before any policy sees the routing; needs gate weights. Changes the output.',
    ),
  layer: z
    .union([z.int().min(0), z.literal('all')])
    .default(0)
    .describe(
      'Index of the MoE layer, or all of them in turn as independent samples; scope model takes all.',
    ),
});

/** A policy as a scenario lists it: its name, or its options with `kind`. */
export const policySchema = z.union([
  z.enum(policyNames),
  union<PolicyOptions>('kind', policies),
]) as z.ZodType<PolicyName | PolicyOptions, PolicyInput>;

/** A scenario as a file holds it. */
export const scenarioSchema = z.strictObject({
  $schema: z.string().optional(),
  name: z.string().min(1).max(200).optional(),
  model,
  cluster,
  engine,
  runtime,
  workload,
  training: trainingSchema
    .optional()
    .describe('How a step is trained; only with workload.phase "training", where every key has a default.'),
  precision: z
    .union([
      precisionSchema,
      z.strictObject({ prefill: precisionSchema.optional(), decode: precisionSchema.optional() }),
    ])
    .optional()
    .describe(
      'Bits of the routed experts, where they are not all those of model.weightDtype; or one block for each phase, of ' +
        'which workload.phase chooses.',
    ),
  offload: offloadSchema
    .optional()
    .describe('Experts that do not fit the GPUs are loaded when they are wanted; scope model, decode.'),
  policies: z.array(policySchema).min(1).max(100),
  scope: z
    .enum(['layer', 'model'])
    .default('layer')
    .describe(
      'layer: a step is one MoE layer; model: a step is all layers, with attention, dense layers and head.',
    ),
  seed: z.union([z.int(), z.string().min(1)]).default(1),
  resamples: z
    .int()
    .min(0)
    .max(10_000)
    .optional()
    .describe('Replicates over sequences for intervals; default: as many as a few seconds allow; 0: none.'),
  allowedLoss: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe('Share of copies that a recommended policy may drop or compute at lowered precision.'),
});

export type ScenarioInput = z.input<typeof scenarioSchema>;
export type Scenario = z.output<typeof scenarioSchema> & { runtime: RuntimeName | RuntimeOptions };

/** The runtime of a scenario that names none. */
export function defaultRuntime({
  engine: name,
  workload: { phase },
}: z.output<typeof scenarioSchema>): RuntimeName {
  const as = phase === 'training' ? 'prefill' : phase;
  return engines.find((known) => known.name === name)?.runtime[as] ?? runtimeNames[0];
}

/** The JSON Schema that editors complete scenarios from. */
export function scenarioJsonSchema(): object {
  const schema = z.toJSONSchema(scenarioSchema, { io: 'input', target: 'draft-07' });
  return { title: 'epsim scenario', ...schema };
}
