import { z } from 'zod';
import { linkRates } from '../../hardware/index.js';
import type { Machine } from '../machine.js';

/** Multiprocessors that NCCL's channels hold; a first guess. */
export const NCCL_SMS = 24;

/** Options of runtimes whose exchanges run beside kernels. */
export const overlapOptions = {
  overlap: z
    .enum(['none', 'shared-expert', 'two-batch'])
    .default('none')
    .describe(
      'What runs while messages travel. shared-expert: the shared experts beside the dispatch; two-batch: that, and ' +
        'the batch in two halves, each with its own rounding and skew, so that one half computes while the other ' +
        "travels (SGLang's two-batch overlap).",
    ),
  slowdown: z
    .number()
    .min(1)
    .optional()
    .describe(
      'What a kernel takes while messages travel, over what it takes alone; default: by the multiprocessors and the ' +
        'memory bandwidth that the exchange takes.',
    ),
};

/**
 * What a kernel takes beside an exchange, over what it takes alone: it loses the multiprocessors that exchange kernels
 * hold, or the memory bandwidth that they use (all that comes in by NVLink is written, all that goes out is read),
 * whichever binds it. Copy engines and RDMA that a hook starts take none (`sms` 0). No measurement stands behind it.
 */
export function slowdownBeside({ cluster: { gpu, profile } }: Machine, sms: number): number {
  if (sms === 0) return 1;
  const memory = (2 * linkRates(profile).nvlink) / gpu.memoryBandwidth;
  return 1 / (1 - Math.max(sms / gpu.sms, memory));
}

/** What a result says of an overlap. */
export function overlapNotes(name: string, overlap: string, slowdown: number): string[] {
  if (overlap === 'none') return [];
  return [
    `${name}: kernels beside an exchange are assumed to take ${slowdown.toFixed(2)} times as long (the ` +
      'multiprocessors or the memory bandwidth that it holds); not measured',
  ];
}
