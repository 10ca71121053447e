import type { Contexts } from '../execution/index.js';
import { perGpu } from './per-gpu.js';
import type { Scenario } from './schema.js';

/**
 * What the steps of scope `model` look back at; null in scope `layer`.
 * @throws RangeError where a key is missing, or given where it means nothing, with its path in the scenario
 */
export function contextsOf({ scope, workload, seed }: Scenario, gpus: number): Contexts | null {
  const { phase, kvTokens, promptTokens, layer } = workload;
  if (scope === 'layer') {
    if (kvTokens !== undefined) throw unused('kvTokens', 'in scope layer');
    if (promptTokens !== undefined) throw unused('promptTokens', 'in scope layer');
    return null;
  }
  if (layer !== 'all' && layer !== 0) {
    throw new RangeError(
      `workload.layer: found ${layer}, allowed: nothing, since scope model takes all layers`,
    );
  }
  if (phase === 'decode') {
    if (promptTokens !== undefined) throw unused('promptTokens', 'in decode');
    if (kvTokens === undefined) {
      throw missing('kvTokens', 'tokens in the KV cache of each GPU, which a decode in scope model reads');
    }
  } else if (promptTokens === undefined) {
    throw missing('promptTokens', 'the length of prompts, or several, which a prefill in scope model needs');
  }
  try {
    return {
      // Training has a scope of its own, refused where training is resolved.
      phase: phase === 'decode' ? 'decode' : 'prefill',
      kvTokens: Float64Array.from(perGpu(kvTokens ?? 0, gpus, seed, 'kv-tokens')),
      promptTokens: typeof promptTokens === 'number' ? [promptTokens] : (promptTokens ?? []),
    };
  } catch (error) {
    throw error instanceof RangeError ? new RangeError(`workload.kvTokens: ${error.message}`) : error;
  }
}

function missing(key: string, what: string): RangeError {
  return new RangeError(`workload.${key}: found nothing, allowed: ${what}`);
}

function unused(key: string, where: string): RangeError {
  return new RangeError(
    `workload.${key}: found a value, allowed: nothing ${where}, where it would change nothing`,
  );
}
