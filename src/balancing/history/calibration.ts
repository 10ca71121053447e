import { z } from 'zod';
import type { HistoryRule } from './estimator.js';

const options = z.strictObject({
  kind: z.literal('calibration'),
  share: z
    .number()
    .gt(0)
    .lt(1)
    .default(0.1)
    .describe('Share of a recording that loads are taken from; no policy of the run replays it.'),
});

type Options = z.output<typeof options>;

/** Loads of a part of the recording that is set aside, planned on once: a static placement made offline. */
export const calibration: HistoryRule<Options, z.input<typeof options>> = {
  kind: 'calibration',
  summary: 'plan once, before the run, from a part of the recording that is set aside',
  options,
  from: 'calibration',
  movement: 'blocking',
  hypothetical: () => false,
  note: () => null,
  calibrationShare: ({ share }) => share,
  schedule: () => null,
  start: ({ share }, setting) =>
    setting.calibration(share).map((sum) => ({ add: () => undefined, known: () => ({ sum, rows: [sum] }) })),
};
