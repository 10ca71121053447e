import { z } from 'zod';
import { policyOf, type PolicyOptions } from '../balancing/index.js';
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
