import { z } from 'zod';
import { phases, type Phase } from '../../routing/index.js';
import type { LayerView, PolicySetting } from '../policy.js';

/** What is known of a layer's loads when a placement is planned. */
export interface LoadHistory {
  /** Expected load by expert, in any unit: only ratios count. */
  sum: Float64Array;
  /** The same step by step, the oldest first, where steps are kept; else `sum` alone. */
  rows: readonly ArrayLike<number>[];
}

/** Collects the loads of one layer. */
export interface Estimator {
  /** Takes the copies by expert of one more step. */
  add(loads: Float64Array): void;
  /** What is known now; valid until the next `add`. */
  known(): LoadHistory;
}

/** When placements are planned, in steps. */
export interface Schedule {
  /** Steps between plans. */
  interval: number;
  /** Steps whose loads are seen before the first plan. */
  first: number;
  /** Steps that a plan waits before its weights begin to move. */
  staleness: number;
  /** No new plan where GPUs are used better than this under the placement in force (mean/max load); null: always. */
  skipAbove: number | null;
}

/** Options of histories that are gathered during the run. */
export const scheduleFields = {
  phase: z
    .enum(['all', ...phases])
    .default('all')
    .describe(
      'Steps whose loads count; a step with any prompt in it is a prefill (vllm-ascend: load_collection_phase). Only ' +
        'for recordings that tell phases apart.',
    ),
  padding: z
    .enum(['counted', 'left-out'])
    .default('counted')
    .describe(
      'Whether padding and dummy tokens that are computed count as load (vllm#38128). Only for recordings that tell ' +
        'them apart, replayed with routing.padding: include.',
    ),
  interval: z.int().min(1).default(100).describe('Steps between plans.'),
  first: z
    .int()
    .min(1)
    .nullable()
    .default(null)
    .describe('Steps before the first plan; null: as many as between plans.'),
  staleness: z
    .int()
    .min(0)
    .default(0)
    .describe(
      'Steps between the last load that a plan knows and its coming into force, or beginning to move.',
    ),
  skipAbove: z
    .number()
    .gt(0)
    .lt(1)
    .nullable()
    .default(null)
    .describe('Plan nothing new while mean/max GPU load over the history is above this; null: always plan.'),
};

/** What of a step's loads is seen. */
export interface Sight {
  phase: 'all' | Phase;
  padding: 'counted' | 'left-out';
}

/**
 * The loads of a step that are seen; null: nothing of it.
 * @param rest for the loads without padding; reused
 */
export function seenLoads(
  { phase, padding: counted }: Sight,
  { loads, padding, phase: own }: Pick<LayerView, 'loads' | 'padding' | 'phase'>,
  rest: Float64Array,
): Float64Array | null {
  if (phase !== 'all' && own !== phase) return null;
  if (counted === 'counted' || padding === undefined) return loads;
  for (let e = 0; e < rest.length; e++) rest[e] = loads[e] - padding[e];
  return rest;
}

/** The schedule that those options say. */
export function scheduleOf({
  interval,
  first,
  staleness,
  skipAbove,
}: {
  interval: number;
  first: number | null;
  staleness: number;
  skipAbove: number | null;
}): Schedule {
  return { interval, first: first ?? interval, staleness, skipAbove };
}

/** What placements are planned from. */
export interface HistoryRule<Options = unknown, Input = unknown> {
  kind: string;
  /** One line for `epsim list`. */
  summary: string;
  options: z.ZodType<Options, Input>;
  /** calibration: once, before the run; steps: from steps of the run; batch: from the very batch it is for. */
  from: 'calibration' | 'steps' | 'batch';
  /** Movement where none is chosen. */
  movement: 'blocking' | 'free' | 'prefetch';
  /** Knows what nobody can know. */
  hypothetical(options: Options): boolean;
  /** Something that a reader of the result must know about it, or null. */
  note(options: Options): string | null;
  /** Share of the recording that it calibrates on, or 0. */
  calibrationShare(options: Options): number;
  /** Null where nothing is planned during the run. */
  schedule(options: Options): Schedule | null;
  /** Default: all of every step. */
  sight?(options: Options): Sight;
  /** One estimator per layer. */
  start(options: Options, setting: PolicySetting): Estimator[];
}
