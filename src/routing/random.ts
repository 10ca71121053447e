import alea from 'seedrandom/lib/alea.js';

/** A source of numbers in [0, 1). */
export type Random = () => number;

/**
 * The random stream of one use: equal (seed, name) give equal numbers, and streams of different names are
 * independent, so that adding a use changes no other.
 */
export function randomStream(seed: number | string, name: string): Random {
  return alea(`${seed}/${name}`);
}

/** Shuffles in place (Fisher–Yates). */
export function shuffle<T extends Int32Array | Float64Array | number[]>(values: T, random: Random): T {
  for (let i = values.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    const swapped = values[i];
    values[i] = values[j];
    values[j] = swapped;
  }
  return values;
}
