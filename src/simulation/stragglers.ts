import type { Machine } from '../execution/index.js';
import { randomStream } from '../routing/index.js';

/**
 * How much longer every GPU's kernels take than the profile says: 1 / speed, times a factor that is drawn for every
 * (step, layer, GPU), log-normal with mean 1. All policies see the same draws.
 */
export class Stragglers {
  private readonly factors: Float64Array;
  private readonly slowness: Float64Array;

  private constructor(
    { gpus }: Machine['cluster'],
    speed: readonly number[] | undefined,
    private readonly jitter: number,
    private readonly seed: number | string,
  ) {
    this.slowness = Float64Array.from({ length: gpus }, (_, gpu) => 1 / (speed?.[gpu] ?? 1));
    this.factors = Float64Array.from(this.slowness);
  }

  /** null where all GPUs run as the profile says. */
  static of({ cluster }: Machine, seed: number | string): Stragglers | null {
    const { speed, jitter = 0 } = cluster;
    return speed === undefined && jitter === 0 ? null : new Stragglers(cluster, speed, jitter, seed);
  }

  /** Factors by GPU; overwritten by the next call. @param layer index of the layer; the head counts as one more */
  of(step: number, layer: number): Float64Array {
    const { factors, slowness, jitter } = this;
    if (jitter === 0) return factors;
    const random = randomStream(this.seed, `jitter/${step}/${layer}`);
    const variance = Math.log1p(jitter * jitter);
    for (let gpu = 0; gpu < factors.length; gpu++) {
      // Box and Muller's transform.
      const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
      factors[gpu] = slowness[gpu] * Math.exp(Math.sqrt(variance) * normal - variance / 2);
    }
    return factors;
  }
}
