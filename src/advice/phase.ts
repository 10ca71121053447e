import { TraceError } from '../routing/index.js';
import type { Desk, Ran, Variant } from './question.js';

/** Tokens per GPU of the phase that the scenario is not in; the first for which its recording is long enough. */
const OTHER_TOKENS = { prefill: [4096, 1024, 256], decode: [64, 32, 16, 8, 4, 2] } as const;

/** Runtimes that are one library's kernels for one phase, and its kernels for the other. */
const OTHER_RUNTIME: Readonly<Record<'prefill' | 'decode', Readonly<Record<string, string>>>> = {
  prefill: { 'deepep-low-latency': 'deepep-normal' },
  decode: { 'deepep-normal': 'deepep-low-latency' },
};

/** A run in a phase. */
export interface RanInPhase extends Ran {
  /** What of the scenario was changed for that beside the phase and the batch; empty: nothing. */
  changed: string;
}

/** Scores policies in a phase: as the scenario has it, or as its routing would be batched in the other one. */
export async function scoreInPhase(
  desk: Desk,
  phase: 'prefill' | 'decode',
  policies: Variant['policies'],
): Promise<RanInPhase> {
  if (desk.phase === phase) return { ...(await desk.score({ policies })), changed: '' };
  const { runtime } = desk;
  const preset = OTHER_RUNTIME[phase][runtime.preset] as string | undefined;
  const batching = phase === 'decode' ? 'decode-lockstep' : 'prefill-chunks';
  let tooLong: unknown;
  for (const tokens of OTHER_TOKENS[phase]) {
    try {
      const ran = await desk.score({
        set: {
          'workload.phase': phase,
          'workload.tokensPerGpu': tokens,
          ...(desk.routing === 'trace' ? { 'workload.routing.batching': batching } : {}),
          ...(preset === undefined ? {} : { runtime: { preset, ...groupsOf(runtime) } }),
        },
        policies,
      });
      const changed =
        preset === undefined ? '' : ` under ${preset} (${runtime.preset} has the kernels of ${desk.phase})`;
      return { ...ran, changed };
    } catch (error) {
      if (!(error instanceof TraceError)) throw error;
      tooLong = error;
    }
  }
  throw tooLong;
}

/** How attention is divided over GPUs, which kernels of an exchange don't change. */
function groupsOf(runtime: Desk['runtime']): { attentionTensorParallel?: number } {
  if (!('attentionTensorParallel' in runtime)) return {};
  return { attentionTensorParallel: runtime.attentionTensorParallel };
}
