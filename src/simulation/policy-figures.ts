import type { Exposure } from './clock-errors.js';
import type { PolicySeries, RoutingSums } from './pass.js';
import type { OwnMemory } from './model-memory.js';
import type { OutOfMemory, PeakMemory, PolicyResult } from './result.js';
import type { Totals } from './totals.js';

/** What a policy's run has counted. */
export interface Counted {
  totals: Totals;
  peakMemory: PeakMemory;
  oom: OutOfMemory | null;
  /** Scope `model`. */
  memory: OwnMemory | null;
  /** Of a run in training; null else. */
  trained: PolicyResult['training'];
}

/** What a run under one policy leaves: all that its result is made of. */
export interface PolicyFigures {
  sums: RoutingSums;
  series: PolicySeries;
  counted: Counted;
  exposure: Exposure;
  /** Mean latency by replicate over other sequences; null where there are none. */
  replicateMeans: readonly number[] | null;
  /** Where the calibration came from that the policy asked for first; null: it asked for none. */
  calibration: string | null;
}
