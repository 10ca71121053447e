import { Option } from '@commander-js/extra-typings';
import { UsageError } from '../../input-error.js';

/** Reads a whole number ≥ `least` of an option. */
export function wholeNumber(name: string, least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (Number.isSafeInteger(value) && value >= least) return value;
    throw new UsageError(`${name}: found '${text}', allowed: a whole number ≥ ${least}`);
  };
}

export const outOption = () =>
  new Option('--out <folder>', "folder in which the sweep's own folder is made").default('results');

export const jobsOption = () =>
  new Option('--jobs <n>', 'worker threads (default: one per core)').argParser(wholeNumber('--jobs', 1));

export const pointsPerShardOption = () =>
  new Option(
    '--points-per-shard <n>',
    'points of one shard (default: 100, or what makes 1,000 shards; those of a sweep that was started stay)',
  ).argParser(wholeNumber('--points-per-shard', 1));
