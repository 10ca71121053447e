import { randomStream } from '../routing/index.js';

/** A figure of every GPU: one for all, a list, or draws around a mean. */
export type PerGpu = number | readonly number[] | { mean: number; cv: number };

/**
 * One value per GPU, whole numbers. Draws are log-normal with the given coefficient of variation, scaled to the mean,
 * once for the run.
 * @param name of the draws
 * @throws RangeError where a list has not one entry per GPU
 */
export function perGpu(given: PerGpu, gpus: number, seed: number | string, name: string): Int32Array {
  if (typeof given === 'number') return new Int32Array(gpus).fill(given);
  if (isList(given)) {
    if (given.length !== gpus) {
      throw new RangeError(`found a list of ${given.length}, allowed: one number for each of ${gpus} GPUs`);
    }
    return Int32Array.from(given);
  }
  const { mean, cv } = given;
  const random = randomStream(seed, name);
  const sigma = Math.sqrt(Math.log1p(cv * cv));
  // Box and Muller's transform.
  const drawn = Array.from({ length: gpus }, () =>
    Math.exp(sigma * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())),
  );
  const sum = drawn.reduce((total, value) => total + value, 0);
  return Int32Array.from(drawn, (value) => Math.round((value * mean * gpus) / sum));
}

function isList(given: Exclude<PerGpu, number>): given is readonly number[] {
  return Array.isArray(given);
}
