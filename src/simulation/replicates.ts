import { policyOf, type PolicyOptions } from '../balancing/index.js';
import { pairedRatio, resampledRatio, type Ratio } from '../metrics/index.js';
import type { RoutingSource } from '../routing/index.js';
import type { Pass } from './pass.js';

/** Seconds that all replicates take together, on the estimate below: as few as this, and never more than that. */
const PATIENCE = 2.5;
const LIMIT = 8;
const MOST = 100;
const FEWEST = 20;

/**
 * As many replicates as a few seconds allow; none where even the fewest that give an interval would take too
 * long, or where there is nothing to draw from. The estimate counts work, not time, so that every machine
 * draws the same number.
 */
export function affordableReplicates(source: RoutingSource, policies: readonly PolicyOptions[]): number {
  if (!source.resample) return 0;
  const { gpus, experts, tokensPerGpu, topK } = source;
  const copies = gpus * tokensPerGpu * topK;
  const nanoseconds = policies.reduce(
    (sum, options) =>
      sum + 1200 * gpus + 3 * gpus * experts + (policyOf(options).looksAtTokens(options) ? 60 : 0) * copies,
    10 * copies,
  );
  const seconds = source.steps * source.layerIds.length * nanoseconds * 1e-9;
  if (FEWEST * seconds > LIMIT) return 0;
  return Math.min(MOST, Math.max(FEWEST, Math.floor(PATIENCE / seconds)));
}

/**
 * Mean latency by policy and replicate, over sequences drawn with replacement.
 * @param goOver takes all policies through the steps of a source
 */
export function replicateMeans<Run extends { restart(): void }>(
  runs: readonly Run[],
  source: RoutingSource,
  replicates: number,
  seed: number | string,
  goOver: (runs: readonly Run[], source: RoutingSource) => Pass,
): number[][] {
  const means: number[][] = runs.map(() => []);
  for (let replicate = 0; replicate < replicates; replicate++) {
    const drawn = source.resample!(`${seed}/replicate/${replicate}`);
    for (const run of runs) run.restart();
    const { series } = goOver(runs, drawn);
    series.forEach(({ latencies }, i) =>
      means[i].push(latencies.reduce((sum, x) => sum + x, 0) / latencies.length),
    );
  }
  return means;
}

/** What the steps, or replicates, say of how far mean latencies and their ratios scatter. */
export class Sampling {
  private readonly stepMeans: Float64Array[];
  private readonly ones: Float64Array;

  /**
   * @param latencies seconds by policy, [step · layers + layer]
   * @param layers latencies per step
   * @param replicates mean latency by policy and replicate; null: intervals come from the steps
   */
  constructor(
    latencies: readonly Float64Array[],
    layers: number,
    private readonly replicates: readonly (readonly number[])[] | null,
  ) {
    this.stepMeans = latencies.map((series) => meansOfSteps(series, layers));
    this.ones = new Float64Array(this.stepMeans[0].length).fill(1);
  }

  /** Mean latency of a policy, with the interval of the mean. */
  latency(policy: number): Ratio {
    if (!this.stepMeans[policy].some((seconds) => seconds > 0)) return { mean: 0, low: null, high: null };
    const mean = pairedRatio(this.stepMeans[policy], this.ones);
    return this.replicates === null ? mean : resampledRatio(mean.mean, this.replicates[policy]);
  }

  /** Mean latency of policy `a` over that of policy `b`. */
  ratio(a: number, b: number): Ratio {
    const ratio = pairedRatio(this.stepMeans[a], this.stepMeans[b]);
    if (this.replicates === null) return ratio;
    const others = this.replicates[b];
    return resampledRatio(
      ratio.mean,
      this.replicates[a].map((mean, i) => mean / others[i]),
    );
  }
}

function meansOfSteps(latencies: Float64Array, layers: number): Float64Array {
  const means = new Float64Array(latencies.length / layers);
  latencies.forEach((seconds, i) => (means[Math.floor(i / layers)] += seconds / layers));
  return means;
}
