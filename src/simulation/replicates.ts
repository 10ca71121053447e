import { pairedRatio, resampledRatio, type Ratio } from '../metrics/index.js';
import type { RoutingSource } from '../routing/index.js';
import { runPass, type PassOptions } from './pass.js';
import type { PolicyRun } from './policy-run.js';

/** Nanoseconds that all replicates may take together, on the cost estimate below: a few seconds. */
const BUDGET = 4e9;
const MOST = 100;
const FEWEST = 20;

/** As many replicates as the budget allows; none where that is too few for an interval, or nothing to draw from. */
export function affordableReplicates(source: RoutingSource, policies: number): number {
  if (!source.resample) return 0;
  const { gpus, experts, tokensPerGpu, topK } = source;
  const perLayer = 1200 * gpus + 3 * gpus * experts + 2 * gpus * tokensPerGpu * topK;
  const affordable = Math.floor(BUDGET / (source.steps * source.layerIds.length * policies * perLayer));
  return affordable < FEWEST ? 0 : Math.min(MOST, affordable);
}

/** Mean latency by policy and replicate, over sequences drawn with replacement. */
export function replicateMeans(
  runs: readonly PolicyRun[],
  source: RoutingSource,
  replicates: number,
  options: PassOptions,
): number[][] {
  const means: number[][] = runs.map(() => []);
  for (let replicate = 0; replicate < replicates; replicate++) {
    const drawn = source.resample!(`${options.seed}/replicate/${replicate}`);
    for (const run of runs) run.restart();
    const { latencies } = runPass(runs, drawn, options);
    latencies.forEach((series, i) => means[i].push(series.reduce((sum, x) => sum + x, 0) / series.length));
  }
  return means;
}

/** Ratios of mean latencies of pairs of policies, with the interval of the pair. */
export class PairedRatios {
  private readonly stepMeans: Float64Array[];

  /**
   * @param latencies seconds by policy, [step · layers + layer]
   * @param replicates mean latency by policy and replicate; null: intervals come from the steps
   */
  constructor(
    latencies: readonly Float64Array[],
    layers: number,
    private readonly replicates: readonly (readonly number[])[] | null,
  ) {
    this.stepMeans = latencies.map((series) => meansOfSteps(series, layers));
  }

  /** Mean latency of policy `a` over that of policy `b`. */
  of(a: number, b: number): Ratio {
    if (a === b) return { mean: 1, low: 1, high: 1 };
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
