import { z } from 'zod';
import { policyOf, type PolicyOptions } from '../balancing/index.js';
import { PHASES } from '../execution/index.js';
import { parseInput, pathText, ScenarioError, show } from '../scenario/index.js';
import type { Result } from '../simulation/index.js';

/** What a comparison reads of a result; what else it holds stays as it is. */
const resultSchema = z.looseObject({
  schema: z.literal('epsim/result@1'),
  version: z.string(),
  inputs: z.string(),
  scenario: z.looseObject({}),
  profile: z.looseObject({ name: z.string() }),
  policies: z
    .array(
      z.looseObject({
        policy: z.looseObject({ kind: z.string() }),
        stepLatency: z.looseObject({ mean: z.number() }),
        speedup: z.looseObject({ mean: z.number() }),
        peakMemory: z.looseObject({ max: z.number() }),
      }),
    )
    .min(1),
});

const range = z.looseObject({ mean: z.number(), low: z.number(), high: z.number() });
const skew = z.looseObject({ maxOverMean: z.number() });
const skews = z.looseObject({ before: skew, after: skew, floor: z.number() });
const seconds = z.record(z.string(), z.number());

/** What a report reads besides. */
const reportedSchema = z.looseObject({
  model: z.string(),
  moeLayers: z.number(),
  cluster: z.looseObject({ gpu: z.string(), gpus: z.number(), gpusPerNode: z.number(), fabric: z.string() }),
  runtime: z.string(),
  profile: z.looseObject({ name: z.string(), status: z.string() }),
  allowedLoss: z.number(),
  routing: z.looseObject({
    steps: z.number(),
    layers: z.array(z.number()).min(1),
    tokensPerGpu: z.number(),
    calibration: z.string().nullable(),
    interval: z.string(),
    varies: z.boolean(),
    notes: z.array(z.string()),
  }),
  policies: z
    .array(
      z.looseObject({
        policy: z.looseObject({ kind: z.string() }),
        anchor: z.boolean(),
        exact: z.boolean(),
        stepLatency: range.extend({
          p50: z.number(),
          p95: z.number(),
          p99: z.number(),
          max: z.number(),
          steps: z.number(),
          effectiveSteps: z.number(),
        }),
        uncertainty: z.array(
          z.looseObject({ source: z.string(), basis: z.string(), range: z.tuple([z.number(), z.number()]) }),
        ),
        speedup: range,
        peakMemory: z.looseObject({
          max: z.number(),
          byCategory: seconds,
          capacity: z.number(),
          nonTensor: z.number(),
          verdict: z.string(),
        }),
        imbalance: z.looseObject({ gpu: skews, expert: skews }),
        copies: z.looseObject({ routed: z.number(), dropped: z.number(), moved: z.number() }),
        loss: z.looseObject({ quantisedCopies: z.number(), keptGateMass: z.number().nullable() }).nullable(),
        bytes: z.looseObject({ weights: z.number() }),
        time: z.looseObject({ waiting: z.number(), critical: z.partialRecord(z.enum(PHASES), z.number()) }),
        bound: z.looseObject({ gap: z.number().nullable() }).nullable(),
      }),
    )
    .refine((policies) => policies.some(({ policy }) => policy.kind === 'ep'), {
      error: 'ep among the policies',
    }),
  fastest: z.looseObject({ policy: z.int().min(0), ties: z.array(z.int().min(0)) }).nullable(),
});

/**
 * Checks a result that was read from a file, as far as a report needs it.
 * @param file name for messages
 * @throws ScenarioError
 */
export function parseReportedResult(input: unknown, file: string): Result {
  const result = parseResult(input, file);
  const { fastest } = parseInput(reportedSchema, input, file);
  for (const index of fastest === null ? [] : [fastest.policy, ...fastest.ties]) {
    if (index < result.policies.length) continue;
    throw new ScenarioError(file, 'fastest', `policy ${index}`, `below ${result.policies.length}`);
  }
  return result;
}

/**
 * Checks a result that was read from a file, as far as a comparison needs it.
 * @param file name for messages
 * @throws ScenarioError
 */
export function parseResult(input: unknown, file: string): Result {
  if (Array.isArray(input)) {
    throw new ScenarioError(
      file,
      '',
      `${input.length} results side by side`,
      'a file that holds one of them',
    );
  }
  const result = parseInput(resultSchema, input, file);
  result.policies.forEach(({ policy }, i) => {
    // A label needs the defaults of a policy that is known; its options may be of another version.
    if (policyOf(policy as PolicyOptions) !== undefined) return;
    throw new ScenarioError(
      file,
      pathText(['policies', i, 'policy', 'kind']),
      show(policy.kind),
      'a policy that this version knows (epsim list policies)',
    );
  });
  return result as unknown as Result;
}
