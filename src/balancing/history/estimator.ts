import type { z } from 'zod';
import type { PolicySetting, Refusal } from '../policy.js';

/** What is known of a layer's loads when a placement is planned. */
export interface LoadHistory {
  /** Expected load by expert, in any unit: only ratios count. */
  sum: Float64Array;
  /** The same step by step, the oldest first, where steps are kept; else `sum` alone. */
  rows: readonly Float64Array[];
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
  /** Steps whose loads are seen before the first plan; the plan is in force from the next step on. */
  first: number;
  /** Steps between plans. */
  interval: number;
  /** Steps that a plan waits until it comes into force, or until its weights begin to move. */
  staleness: number;
}

/** What placements are planned from. */
export interface HistoryRule<Options = unknown, Input = unknown> {
  kind: string;
  /** One line for `epsim list`. */
  summary: string;
  options: z.ZodType<Options, Input>;
  /** calibration: once, before the run; steps: from steps of the run; batch: from the very batch it is for. */
  from: 'calibration' | 'steps' | 'batch';
  /** Share of the recording that it calibrates on, or 0. */
  calibrationShare(options: Options): number;
  /** Null where nothing is planned during the run. */
  schedule(options: Options): Schedule | null;
  refusal(options: Options, setting: PolicySetting): Refusal | null;
  /** One estimator per layer. */
  start(options: Options, setting: PolicySetting): Estimator[];
}
