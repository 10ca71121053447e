import { quantile } from 'd3-array';
import type { Timed } from '../../calibration/index.js';
import type { Effort } from '../backend.js';
import type { Prepared } from './prepare.js';
import { summarise } from './sample.js';
import type { Stopwatch } from './stopwatch.js';

/** Dispatches of one submission at most. */
const MAX_DISPATCHES = 4096;

/** Length of a submission of the long run: long beside the wait between two, short for a driver's watchdog. */
const LONG_SUBMISSION_SECONDS = 50e-3;

/** Times of a prepared case, and the variant that the last call used. */
export interface DeviceTimes extends Pick<Timed, 'seconds' | 'spread' | 'repeats' | 'longRunSeconds'> {
  lastVariant: number;
}

/**
 * Times calls on inputs in turn. A call too short for the clock is timed as several in one submission,
 * each waiting for the one before, because all write the same results.
 */
export async function timeOnDevice(
  stopwatch: Stopwatch,
  prepared: Prepared,
  effort: Effort,
): Promise<DeviceTimes> {
  const { call } = prepared.plan;
  const most = Math.max(
    1,
    Math.floor(MAX_DISPATCHES / (call.kind === 'dispatches' ? call.dispatches.length : 1)),
  );
  let next = 0;
  const variant = () => next++ % prepared.variants;
  const sample = async (calls: number) => {
    const repeat = (one: (variant: number) => void) => {
      for (let i = 0; i < calls; i++) one(variant());
    };
    const seconds = await stopwatch.time(
      call.kind === 'copy'
        ? { encoder: (encoder) => repeat((i) => prepared.copy(encoder, i)) }
        : { pass: (pass) => repeat((i) => prepared.dispatch(pass, i)) },
    );
    return seconds / calls;
  };
  const callsFor = (length: number, seconds: number) =>
    Math.min(most, Math.max(1, Math.ceil(length / Math.max(seconds, 1e-9))));

  let estimate = await sample(1);
  for (let i = 0; i < effort.warmup; i++) estimate = await sample(1);
  const calls = callsFor(stopwatch.resolution, estimate);
  const samples: number[] = [];
  while (samples.length < effort.repeats) samples.push(await sample(calls));
  const times = summarise(samples);

  const long: number[] = [];
  const start = performance.now();
  while ((performance.now() - start) * 1e-3 < effort.longRunSeconds) {
    long.push(await sample(callsFor(LONG_SUBMISSION_SECONDS, times.seconds)));
  }
  // By the second half clocks and power have settled
  const settled = quantile(long.slice(Math.floor(long.length / 2)), 0.5) ?? 0;
  return {
    ...times,
    ...(settled > 0 ? { longRunSeconds: settled } : {}),
    lastVariant: (next - 1) % prepared.variants,
  };
}
