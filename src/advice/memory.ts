import { formatGib } from './figures.js';
import type { Desk } from './question.js';
import type { PolicyResult } from '../simulation/index.js';

/** What redundant experts take of a GPU's memory, beside what reordering alone takes. Bytes. */
export interface Cost {
  /** Their weights, in all MoE layers. */
  weights: number;
  /** What else the peak holds more: buffers that layers share. */
  buffers: number;
  bytes: number;
  /** Tokens whose KV cache takes as much; null where the shape does not say. */
  kvTokens: number | null;
  /** Whether the GPU has room, in scope `layer` with the experts of all layers. */
  fits: boolean;
}

/** @param reordered the same policy without redundant experts, of the same run */
export function costOf(desk: Desk, redundant: number, own: PolicyResult, reordered: PolicyResult): Cost {
  const { expertBytes, cacheBytesPerToken, shape } = desk;
  const weights = redundant * expertBytes * shape.moeLayers;
  const buffers = besideExperts(own) - besideExperts(reordered);
  const bytes = weights + buffers;
  const kvTokens = cacheBytesPerToken === null ? null : Math.round(bytes / cacheBytesPerToken);
  return { weights, buffers, bytes, kvTokens, fits: fits(desk, redundant, own) };
}

/** Less would print as 0.00 GiB. */
const SAID = 0.005 * 2 ** 30;

/** "2.38 GiB per GPU (…), the KV cache of 36,349 tokens per GPU, and fits". */
export function costText({ weights, buffers, bytes, kvTokens, fits }: Cost, { shape, scope }: Desk): string {
  const split =
    Math.abs(buffers) < SAID
      ? `weights of ${shape.moeLayers} MoE layers`
      : `weights of ${shape.moeLayers} MoE layers ${formatGib(weights)}, ${buffers < 0 ? 'less' : 'more'} buffers ${formatGib(Math.abs(buffers))}`;
  const cache =
    kvTokens === null
      ? " (KV-cache tokens: the model's shape has no attention to count them by)"
      : `, the KV cache of ${kvTokens.toLocaleString('en')} tokens per GPU`;
  const room = fits ? 'which fits' : 'which does not fit';
  const without = scope === 'model' ? '' : ', attention and KV cache not counted';
  return `${formatGib(bytes)} per GPU (${split})${cache}, ${room}${without}`;
}

/** The peak without the routed experts that are held. */
function besideExperts({ peakMemory: { max, byCategory } }: PolicyResult): number {
  return max - byCategory.weights - byCategory.replicas;
}

function fits({ scope, shape, gpus, expertBytes }: Desk, redundant: number, own: PolicyResult): boolean {
  const { verdict, nonTensor, capacity } = own.peakMemory;
  if (scope === 'model') return verdict !== 'does not fit';
  const slots = Math.ceil(shape.experts / gpus) + redundant;
  return slots * expertBytes * shape.moeLayers + besideExperts(own) + nonTensor <= capacity;
}
