import { z } from 'zod';

const rate = z.number().positive();
const share = z.number().min(0).max(1);

const linkSchema = z.strictObject({
  bytesPerSecond: rate,
  latencySeconds: z.number().nonnegative().default(0),
});

const weightsSchema = z
  .strictObject({
    lru: share.default(0).describe('Weight of how lately an expert was used.'),
    lfu: share.default(0).describe('Weight of how often it was used in this sequence.'),
    lhu: share.default(0).describe('Weight of how often it was used in this sequence in high precision.'),
    fld: share.default(0).describe('Weight of how soon its layer comes again.'),
  })
  .refine(({ lru, lfu, lhu, fld }) => Math.abs(lru + lfu + lhu + fld - 1) < 1e-9, 'weights that sum to 1');

export type EvictionWeights = z.infer<typeof weightsSchema>;

/** Names for weights that are all on one thing, or equal; `random` looks at nothing. */
export const EVICTIONS = ['mixture', 'lru', 'lfu', 'lhu', 'fld', 'random'] as const;

const strategySchema = z.strictObject({
  name: z.string().min(1).max(60).optional().describe('Default: what it does.'),
  precision: z
    .enum(['mixed', 'high'])
    .default('mixed')
    .describe('mixed: what a miss loads depends on the gate weight; high: always the shipped precision.'),
  evict: z
    .union([z.enum(EVICTIONS), weightsSchema])
    .default('mixture')
    .describe(
      'Which expert leaves a full cache: the one whose weighted sum of LRU, LFU, LHU and FLD is smallest (mixture: ' +
        'equal weights), or any (random).',
    ),
  prefetchLayers: z
    .int()
    .min(0)
    .max(8)
    .default(0)
    .describe('Layers ahead that are looked at for experts to load before they are asked for; 0: none.'),
  miss: z
    .enum(['load', 'cpu'])
    .default('load')
    .describe(
      'load: a missing expert is loaded; cpu: the host computes it (cpuSecondsPerExpert), and it is loaded besides only while the cache has free slots.',
    ),
});

export type OffloadStrategy = z.output<typeof strategySchema>;

/** Experts that do not fit the GPUs' memory, and what is done about it. */
export const offloadSchema = z.strictObject({
  cacheBytes: rate
    .optional()
    .describe('Memory of every GPU for cached experts; default: what the rest of the model leaves.'),
  hostLink: linkSchema.optional().describe('Host memory to GPU, of every GPU; default: that of the profile.'),
  hostMemoryBytes: z
    .number()
    .min(0)
    .optional()
    .describe('Memory of every node for experts; others come from its SSD. Default: all are in host memory.'),
  ssd: linkSchema.optional().describe('SSD to host memory, of every node; needed with hostMemoryBytes.'),
  lowBits: z.number().min(1).max(16).default(4).describe('Bits per weight of the low precision.'),
  highUpTo: share
    .default(0.6)
    .describe(
      'A choice whose better-placed choices of the same token hold at most this share of its gate weights is wanted in ' +
        'high precision (T1).',
    ),
  lowUpTo: share.default(0.9).describe('At most this share: in low precision; above it: skipped (T2).'),
  lowCacheShare: share
    .default(0.15)
    .describe('Share of the cache memory for experts in low precision, in strategies that mix precisions.'),
  highServesLow: z
    .boolean()
    .default(true)
    .describe('Whether a copy in high precision serves who wants low precision.'),
  predictionAccuracy: z
    .array(share)
    .min(1)
    .max(8)
    .default([0.96, 0.9, 0.9])
    .describe(
      'Probability that a predicted choice is right, one layer ahead, two ahead, …; the last number holds beyond.',
    ),
  cpuSecondsPerExpert: rate
    .optional()
    .describe('Seconds in which the host of a node computes one expert; needed with miss "cpu".'),
  strategies: z
    .array(strategySchema)
    .min(1)
    .max(50)
    .describe('What to compare; speed-ups refer to the first.'),
});

export type OffloadOptions = z.output<typeof offloadSchema>;

/** The weights that a name stands for; null for `random`. */
export function evictionWeights(evict: OffloadStrategy['evict']): EvictionWeights | null {
  if (typeof evict !== 'string') return evict;
  const none = { lru: 0, lfu: 0, lhu: 0, fld: 0 };
  if (evict === 'random') return null;
  if (evict === 'mixture') return { lru: 0.25, lfu: 0.25, lhu: 0.25, fld: 0.25 };
  return { ...none, [evict]: 1 };
}

/** A strategy's name, or what it does: "mixed, mixture, prefetch 1". */
export function strategyLabel({ name, precision, evict, prefetchLayers, miss }: OffloadStrategy): string {
  if (name !== undefined) return name;
  const weights =
    typeof evict === 'string'
      ? evict
      : Object.entries(evict)
          .filter(([, weight]) => weight > 0)
          .map(([of, weight]) => `${of} ${weight}`)
          .join(' + ');
  return [
    precision,
    weights,
    ...(prefetchLayers > 0 ? [`prefetch ${prefetchLayers}`] : []),
    ...(miss === 'cpu' ? ['cpu'] : []),
  ].join(', ');
}
