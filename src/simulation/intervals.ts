import { combinedSpread, intervalAround, type Ratio, type Spread } from '../metrics/index.js';
import type { ClockErrors, ErrorPart, Exposure } from './clock-errors.js';
import type { Sampling } from './replicates.js';
import type { Speedup, UncertaintyPart } from './result.js';

/** 90 % intervals of mean latencies and of their ratios: errors of the clock and scatter of the steps together. */
export class Intervals {
  constructor(
    private readonly sampling: Sampling,
    private readonly errors: ClockErrors,
    private readonly exposures: readonly Exposure[],
  ) {}

  /** Mean latency of a policy, and what makes its interval. */
  latency(policy: number): { low: number; high: number; parts: UncertaintyPart[] } {
    const sampled = this.sampling.latency(policy);
    const parts: ErrorPart[] = [
      ...this.errors.ofLatency(this.exposures[policy]),
      ...samplingSpread(sampled).map((spread): ErrorPart => ({
        source: 'sampling',
        basis: 'sampled',
        spread,
      })),
    ];
    return {
      ...intervalAround(sampled.mean, combinedSpread(parts.map(({ spread }) => spread))),
      parts: parts.map(({ source, basis, spread }) => {
        const { low, high } = intervalAround(1, spread);
        return { source, basis, range: [low, high] };
      }),
    };
  }

  /** Mean latency of policy `a` over that of policy `b`, with the interval of the pair. */
  ratio(a: number, b: number): Speedup {
    if (a === b) return { mean: 1, low: 1, high: 1, sampling: { low: 1, high: 1 } };
    const sampled = this.sampling.ratio(a, b);
    const spreads = this.errors.ofRatio(this.exposures[a], this.exposures[b]);
    const { low, high } = sampled;
    return {
      mean: sampled.mean,
      ...intervalAround(sampled.mean, combinedSpread([...spreads, ...samplingSpread(sampled)])),
      sampling: low === null || high === null ? null : { low, high },
    };
  }
}

/** How the steps scatter; none where they do not, or are too few to say. */
function samplingSpread({ mean, low, high }: Ratio): Spread[] {
  if (low === null || high === null || low === high) return [];
  return [{ below: Math.log(mean / low), above: Math.log(high / mean) }];
}
