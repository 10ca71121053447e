import { z } from 'zod';
import {
  scheduleFields,
  scheduleOf,
  type Estimator,
  type HistoryRule,
  type LoadHistory,
} from './estimator.js';

const options = z.strictObject({
  kind: z.literal('window'),
  steps: z.int().min(1).max(100_000).default(100).describe('Latest steps whose loads count.'),
  ...scheduleFields,
});

type Options = z.output<typeof options>;

/** Sums of the loads of the latest steps: vLLM's and SGLang's history. */
export const window: HistoryRule<Options, z.input<typeof options>> = {
  kind: 'window',
  summary: 'plan during the run, from the sum of the latest steps',
  options,
  from: 'steps',
  movement: 'blocking',
  hypothetical: () => false,
  note: () => null,
  calibrationShare: () => 0,
  schedule: scheduleOf,
  sight: ({ phase, padding }) => ({ phase, padding }),
  start: ({ steps }, { layers, experts }) =>
    Array.from({ length: layers }, () => new LoadWindow(steps, experts)),
};

/** A ring of the loads of the latest steps; it grows until it is full. */
class LoadWindow implements Estimator {
  private readonly ring: Int32Array[] = [];
  private next = 0;
  private readonly sum: Float64Array;

  constructor(
    private readonly steps: number,
    experts: number,
  ) {
    this.sum = new Float64Array(experts);
  }

  add(loads: Float64Array): void {
    if (this.ring.length < this.steps) this.ring.push(Int32Array.from(loads));
    else this.ring[this.next].set(loads);
    this.next = (this.next + 1) % this.steps;
  }

  known(): LoadHistory {
    const { ring, next, sum } = this;
    const oldest = ring.length < this.steps ? 0 : next;
    const rows = [...ring.slice(oldest), ...ring.slice(0, oldest)];
    sum.fill(0);
    for (const row of rows) for (let e = 0; e < sum.length; e++) sum[e] += row[e];
    return { sum, rows };
  }
}
