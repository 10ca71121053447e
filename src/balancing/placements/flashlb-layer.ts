import { linearSumAssignment } from 'linear-sum-assignment';

/** How FlashLB searches. */
export interface FlashLbSearch {
  /** How many standard deviations above its mean an expert's load is expected to be. */
  zScore: number;
  /** Parts into which experts are cut by falling load. */
  tiers: number;
  /** Replicas more or fewer than its greedy share that a part is tried with. */
  width: number;
}

/** Loads of a layer over the steps of a history: mean, spread and covariance of experts. */
class LoadStatistics {
  readonly mean: Float64Array;
  /** [expert · experts + other]; 0 for a single step. */
  readonly covariance: Float64Array;

  /** @param rows loads by expert, step by step */
  constructor(readonly rows: readonly ArrayLike<number>[]) {
    const experts = rows[0].length;
    this.mean = new Float64Array(experts);
    for (const row of rows) for (let e = 0; e < experts; e++) this.mean[e] += row[e] / rows.length;
    this.covariance = new Float64Array(experts * experts);
    if (rows.length === 1) return;
    const away = new Float64Array(experts);
    for (const row of rows) {
      for (let e = 0; e < experts; e++) away[e] = row[e] - this.mean[e];
      for (let e = 0; e < experts; e++) {
        const own = away[e] / (rows.length - 1);
        for (let other = 0; other < experts; other++)
          this.covariance[e * experts + other] += own * away[other];
      }
    }
  }

  /** Mean plus `zScore` standard deviations, by expert. */
  high(zScore: number): Float64Array {
    const { mean, covariance } = this;
    return mean.map((load, e) => load + zScore * Math.sqrt(covariance[e * mean.length + e]));
  }
}

/** One layer's search for replicas and for the GPUs that hold them. */
export class FlashLbLayer {
  private readonly statistics: LoadStatistics;
  private readonly high: Float64Array;
  private readonly experts: number;

  /** @param rows loads by expert, step by step */
  constructor(
    rows: readonly ArrayLike<number>[],
    private readonly gpus: number,
    private readonly slots: number,
    private readonly search: FlashLbSearch,
  ) {
    this.statistics = new LoadStatistics(rows);
    this.high = this.statistics.high(search.zScore);
    this.experts = rows[0].length;
  }

  /** Experts by GPU, no two equal ones on any; null where no tried number of replicas allows that. */
  place(): number[][] | null {
    const { high, experts, slots } = this;
    const order = Array.from(high.keys()).sort((a, b) => high[b] - high[a] || a - b);
    const size = Math.ceil(experts / this.search.tiers);
    const chosen = new Int32Array(experts).fill(1);
    let left = slots - experts;
    let best: { score: number; held: number[][] } | null = null;
    for (let first = 0; first < experts; first += size) {
      const tier = order.slice(first, first + size);
      const rest = order.slice(first + size);
      const found = this.bestShare(chosen, tier, rest, left);
      if (found === null) return best && best.held;
      best = found;
      for (const expert of tier) chosen[expert] = found.replicas[expert];
      left -= found.share;
    }
    return best!.held;
  }

  /** The number of further replicas for a tier that scores best, the rest going to the tiers after it by greed. */
  private bestShare(chosen: Int32Array, tier: readonly number[], rest: readonly number[], left: number) {
    const usual = this.greedyShare(tier, rest, left);
    const farthest = rest.length === 0 ? 0 : Math.min(Math.max(usual, left - usual), this.search.width);
    let best: { score: number; share: number; held: number[][]; replicas: Int32Array } | null = null;
    const attempt = (share: number) => {
      if (share < 0 || share > left) return;
      const replicas = chosen.slice();
      if (!this.replicate(replicas, tier, share) || !this.replicate(replicas, rest, left - share)) return;
      const held = this.pack(replicas);
      if (held === null) return;
      const score = this.score(held, replicas);
      if (best === null || score < best.score) best = { score, share, held, replicas };
    };
    attempt(usual);
    for (let away = 1; away <= farthest; away++) {
      attempt(usual - away);
      attempt(usual + away);
    }
    return best as { score: number; share: number; held: number[][]; replicas: Int32Array } | null;
  }

  /** What of `left` replicas a tier gets where they go to the largest load per instance. */
  private greedyShare(tier: readonly number[], rest: readonly number[], left: number): number {
    const replicas = new Int32Array(this.experts).fill(1);
    this.replicate(replicas, [...tier, ...rest], left);
    return tier.reduce((sum, expert) => sum + replicas[expert] - 1, 0);
  }

  /** Adds replicas, each to the largest high load per instance; false where every expert is on every GPU already. */
  private replicate(replicas: Int32Array, among: readonly number[], count: number): boolean {
    for (let made = 0; made < count; made++) {
      let hot = -1;
      for (const expert of among) {
        if (replicas[expert] === this.gpus) continue;
        if (hot < 0 || this.high[expert] / replicas[expert] > this.high[hot] / replicas[hot]) hot = expert;
      }
      if (hot < 0) return false;
      replicas[hot]++;
    }
    return true;
  }

  /**
   * Instances by falling mean share, each to the GPU whose mean plus `zScore` deviations stays lowest; null where an
   * instance finds no GPU with room that lacks its expert.
   */
  private pack(replicas: Int32Array): number[][] | null {
    const { gpus, experts, slots, search } = this;
    const { mean, covariance } = this.statistics;
    const share = mean.map((load, e) => load / replicas[e]);
    const order = Array.from(share.keys()).sort((a, b) => share[b] - share[a] || a - b);
    const held: number[][] = Array.from({ length: gpus }, () => []);
    const means = new Float64Array(gpus);
    const variances = new Float64Array(gpus);
    for (const expert of order) {
      const own = covariance[expert * experts + expert] / replicas[expert] ** 2;
      for (let replica = 0; replica < replicas[expert]; replica++) {
        let best = -1;
        let lowest = Infinity;
        let variance = 0;
        for (let gpu = 0; gpu < gpus; gpu++) {
          if (held[gpu].length === slots / gpus || held[gpu].includes(expert)) continue;
          let among = 0;
          for (const other of held[gpu]) among += covariance[expert * experts + other] / replicas[other];
          const next = variances[gpu] + own + (2 * among) / replicas[expert];
          const risk = means[gpu] + share[expert] + search.zScore * Math.sqrt(Math.max(0, next));
          if (risk >= lowest) continue;
          [best, lowest, variance] = [gpu, risk, next];
        }
        if (best < 0) return null;
        held[best].push(expert);
        means[best] += share[expert];
        variances[best] = variance;
      }
    }
    return held;
  }

  private score(held: readonly (readonly number[])[], replicas: Int32Array): number {
    return 1 / meanOverPeak(this.statistics.rows, held, replicas, true);
  }
}

/**
 * Mean over largest GPU load with equal shares, over the steps of a history: the average of the steps' ratios, or
 * (`ofPeaks`) 1 over the average of their largest/mean, which FlashLB's search lowers. Steps without load count as 1.
 */
export function meanOverPeak(
  rows: readonly ArrayLike<number>[],
  held: readonly (readonly number[])[],
  replicas: ArrayLike<number>,
  ofPeaks = false,
): number {
  let sum = 0;
  for (const row of rows) {
    let most = 0;
    let all = 0;
    for (const own of held) {
      let load = 0;
      for (const expert of own) load += row[expert] / replicas[expert];
      all += load;
      if (load > most) most = load;
    }
    const mean = all / held.length;
    sum += most === 0 ? 1 : ofPeaks ? most / mean : mean / most;
  }
  return ofPeaks ? rows.length / sum : sum / rows.length;
}

/** The same parts given to the GPUs that hold most of them already: as few experts as can be change their GPU. */
export function matchGpus(
  parts: readonly (readonly number[])[],
  current: readonly (readonly number[])[],
): (readonly number[])[] {
  const kept = current.map((own) =>
    parts.map((part) => part.filter((expert) => own.includes(expert)).length),
  );
  const { rowAssignments } = linearSumAssignment(kept, { maximaze: true });
  return Array.from(rowAssignments, (part) => parts[part]);
}
