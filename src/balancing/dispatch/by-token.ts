import { z } from 'zod';
import { NO_EXPERT } from '../../routing/index.js';
import type { LayerView } from '../policy.js';
import type { Placement } from '../placement.js';
import type { SlotCopies } from '../plan.js';
import { plainDispatch, type DispatchRule } from './rule.js';

/**
 * A rule that chooses each copy's instance by the number of its token.
 * @param chosen which of `instances` takes a copy: `token` counts within its source GPU, `choice` within the token
 */
function byToken<Kind extends string>(
  kind: Kind,
  summary: string,
  chosen: (token: number, choice: number, topK: number) => number,
): DispatchRule<{ kind: Kind }, { kind: Kind }> {
  return {
    ...plainDispatch,
    kind,
    summary,
    options: z.strictObject({ kind: z.literal(kind) }),
    looksAtTokens: true,
    refusal: (_, { hasTokens }) =>
      hasTokens
        ? null
        : {
            option: '',
            found: `${kind}, but the routing holds counts without tokens`,
            allowed:
              'round-robin, or routing with tokens (workload.routing.tokens: true, or a recording of tokens)',
          },
    start(_, { gpus }) {
      const seen = new Int32Array(gpus);
      return {
        divide({ firstInstance, instance }: Placement, { tokens }: LayerView, { copies, slots }: SlotCopies) {
          const { count, topK, experts, source } = tokens!;
          seen.fill(0);
          for (let token = 0; token < count; token++) {
            const own = seen[source[token]]++;
            for (let choice = 0; choice < topK; choice++) {
              const expert = experts[token * topK + choice];
              if (expert === NO_EXPERT) continue;
              const first = firstInstance[expert];
              const instances = firstInstance[expert + 1] - first;
              const slot = instance[first + (chosen(own, choice, topK) % instances)];
              copies[source[token] * slots + slot]++;
            }
          }
        },
      };
    },
  };
}

/**
 * The copy's place in the flat list of a source GPU's copies, modulo the instances: vLLM's second rule. Where the
 * instances divide top-k it looks only at the place inside the token, so that an expert that is usually a token's
 * first choice sends everything to one instance.
 */
export const flatPosition = byToken(
  'flat-position',
  "the copy's place in its source's list modulo the instances; has an artefact",
  (token, choice, topK) => token * topK + choice,
);

/**
 * Knuth's multiplicative hash of the token's number, modulo the instances: vLLM's third rule. All copies of a token
 * use one hash; for 2, 4 or 8 instances it equals the token's number modulo them.
 */
export const tokenHash = byToken(
  'token-hash',
  "a hash of the token's number modulo the instances",
  (token) => Math.imul(token, 2654435769) >>> 0,
);
