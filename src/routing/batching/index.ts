import { decodeLockstep } from './decode-lockstep.js';
import { prefillChunks } from './prefill-chunks.js';
import { shuffled } from './shuffled.js';

/** Ways to batch recorded sequences; `recorded` (the file's own steps) is no batching of ours. */
export const batchings = [shuffled, prefillChunks, decodeLockstep] as const;

export const batchingKinds = ['shuffled', 'prefill-chunks', 'decode-lockstep', 'recorded'] as const;
export type BatchingKind = (typeof batchingKinds)[number];
