import { randomStream } from '../routing/index.js';
import type { Loads, Observed } from './observe.js';

/** A number with its 90 % interval; null ends where nothing can be drawn anew. */
export interface Estimate {
  value: number;
  low: number | null;
  high: number | null;
}

const REPLICATES = 200;
const FEWEST_REPLICATES = 40;
/** Additions that drawing anew may take. */
const MOST_WORK = 2e9;
/** Standard deviations to either end of a 90 % interval of a normal distribution. */
const REACH = 1.645;
/** Parts below which an interval would say nothing. */
const FEWEST_PARTS = 5;

/** Sums of as many parts drawn with replacement, as often as there is time for; none where there are too few parts. */
export function* replicates({ parts, total }: Observed): Generator<Loads> {
  const { loads } = parts;
  if (parts.what !== 'sequences' || loads.length < FEWEST_PARTS) return;
  const affordable = Math.floor(MOST_WORK / (loads.length * total.length));
  const count = Math.max(FEWEST_REPLICATES, Math.min(REPLICATES, affordable));
  const random = randomStream('inspect', 'replicates');
  const sum = new Float64Array(total.length);
  for (let replicate = 0; replicate < count; replicate++) {
    sum.fill(0);
    for (let i = 0; i < loads.length; i++) {
      const part = loads[Math.floor(random() * loads.length)];
      for (let j = 0; j < sum.length; j++) sum[j] += part[j];
    }
    yield sum;
  }
}

/**
 * A value with the interval that its replicates' spread gives: they say how far it scatters and not where it is,
 * because a sum that repeats some parts is more uneven than one that does not.
 */
export function estimateOf(value: number, own: readonly number[]): Estimate {
  if (own.length < 2) return { value, low: null, high: null };
  const mean = own.reduce((sum, x) => sum + x, 0) / own.length;
  const variance = own.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (own.length - 1);
  const reach = REACH * Math.sqrt(variance);
  return { value, low: value - reach, high: value + reach };
}
