import { quantile } from 'd3-array';
import type { Timed } from '../../calibration/index.js';
import { BackendError } from '../backend.js';

/**
 * Median and spread of samples, as a row has them.
 * @param samples seconds of one call
 * @throws BackendError if most were too short for the clock
 */
export function summarise(samples: readonly number[]): Pick<Timed, 'seconds' | 'spread' | 'repeats'> {
  const seconds = quantile(samples, 0.5) ?? 0;
  if (!(seconds > 0)) throw new BackendError('webgpu: the clock of the device is too coarse for this case');
  const spread = (quantile(samples, 0.75)! - quantile(samples, 0.25)!) / seconds;
  return { seconds, spread, repeats: samples.length };
}
