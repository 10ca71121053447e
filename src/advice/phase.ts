import { TraceError } from '../routing/index.js';
import type { Desk, Ran, Variant } from './question.js';

/** Tokens per GPU of the phase that the scenario is not in; the first for which its recording is long enough. */
const OTHER_TOKENS = { prefill: [4096, 1024, 256], decode: [64, 32, 16, 8, 4, 2] } as const;

/** Scores policies in a phase: as the scenario has it, or as its routing would be batched in the other one. */
export async function scoreInPhase(
  desk: Desk,
  phase: 'prefill' | 'decode',
  policies: Variant['policies'],
): Promise<Ran> {
  if (desk.phase === phase) return desk.score({ policies });
  const batching = phase === 'decode' ? 'decode-lockstep' : 'prefill-chunks';
  let tooLong: unknown;
  for (const tokens of OTHER_TOKENS[phase]) {
    try {
      return await desk.score({
        set: {
          'workload.phase': phase,
          'workload.tokensPerGpu': tokens,
          ...(desk.routing === 'trace' ? { 'workload.routing.batching': batching } : {}),
        },
        policies,
      });
    } catch (error) {
      if (!(error instanceof TraceError)) throw error;
      tooLong = error;
    }
  }
  throw tooLong;
}
