import type { Interval } from '../metrics/index.js';
import type { Setting } from './tune-space.js';

/** Something to make small, by the name that the command line has for it. */
export const objectives = {
  step: { column: 'step_mean_s', summary: 'mean latency of a step' },
  p99: { column: 'step_p99_s', summary: '99th percentile of the latency of a step' },
  max: { column: 'step_max_s', summary: 'longest step' },
  'peak-memory': { column: 'peak_memory_bytes', summary: 'bytes in use on the fullest GPU at its peak' },
  weights: { column: 'weight_bytes', summary: 'bytes of expert weights that travel' },
  loss: { column: 'loss_share', summary: 'share of copies dropped or computed at lowered precision' },
} as const;

export type ObjectiveName = keyof typeof objectives;

/** A setting of the last round. */
export interface Finalist {
  setting: Setting;
  /** By objective, over the seeds. */
  scores: Interval[];
  /** Of plain EP's mean step over this one's, seed by seed. */
  speedup: Interval;
  onFront: boolean;
  /** Why it is not recommended; null where it may be. */
  refused: string | null;
}

/** What a search has found. */
export interface TuneResult {
  policy: string;
  minimise: readonly ObjectiveName[];
  tried: number;
  /** Settings that can't run here, with the first error. */
  failed: { count: number; error: string } | null;
  rounds: { settings: number; steps: number | null; seeds: number }[];
  /** Those of the last round, best first. */
  finalists: Finalist[];
  /** The recommended one, scored anew on seeds (and sequences, where `heldOut`) that the search has not seen; null where none may be recommended. */
  recommended: {
    setting: Setting;
    seeds: number;
    speedup: Interval;
    /** Share of the layers that its gate leaves to plain EP. */
    gatedShare: number;
    /** Of the first objective with the policy's defaults over that with this setting. */
    overDefaults: Interval;
    /** Of the first objective of the next best setting over that of this one; null where it is the only one. */
    overNext: Interval | null;
  } | null;
  /** Values of each option within 2 % of the best in the first round. */
  flat: Record<string, unknown[]>;
  /** Tokens per GPU, and what the speed-up is there with the recommended setting. */
  batches: { tokensPerGpu: number; speedup: Interval }[];
  /** Whether a recording's second half scored what was searched for on its first. */
  heldOut: boolean;
  /** Whether other seeds give other batches at all. */
  seedsMatter: boolean;
}
