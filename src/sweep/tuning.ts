import type { Interval } from '../metrics/index.js';

/** Something to make small, by the name that the command line has for it. */
export const objectives = {
  step: { column: 'step_mean_s', summary: 'mean latency of a step' },
  p99: { column: 'step_p99_s', summary: '99th percentile of the latency of a step' },
  max: { column: 'step_max_s', summary: 'longest step' },
  'peak-memory': { column: 'peak_memory_bytes', summary: 'bytes in use on the fullest GPU at its peak' },
  weights: { column: 'weight_bytes', summary: 'bytes of expert weights that travel' },
  loss: { column: 'loss_share', summary: 'share of copies dropped or computed at lowered precision' },
} as const;

export type ObjectiveName = keyof typeof objectives;

/** Values to try, by option of a policy. */
export type TuneSpace = Readonly<Record<string, readonly unknown[]>>;

/** Options of one policy to try. */
export type Setting = Readonly<Record<string, unknown>>;

/** A setting of the last round. */
export interface Finalist {
  setting: Setting;
  /** By objective, over the seeds. */
  scores: Interval[];
  /** Of plain EP's mean step over this one's, seed by seed. */
  speedup: Interval;
  onFront: boolean;
  /** Why it is not recommended; null where it may be. */
  refused: string | null;
}

/** What a search has found. */
export interface TuneResult {
  policy: string;
  minimise: readonly ObjectiveName[];
  tried: number;
  /** Settings that can't run here, with the first error. */
  failed: { count: number; error: string } | null;
  rounds: { settings: number; steps: number | null; seeds: number }[];
  /** Those of the last round, best first. */
  finalists: Finalist[];
  /** The recommended one, scored anew on seeds that the search has not seen; null where none may be recommended. */
  recommended: {
    setting: Setting;
    seeds: number;
    speedup: Interval;
    /** Share of the layers that its gate leaves to plain EP. */
    gatedShare: number;
    /** Of the first objective with the policy's defaults over that with this setting. */
    overDefaults: Interval;
    /** Of the first objective of the next best setting over that of this one; null where it is the only one. */
    overNext: Interval | null;
  } | null;
  /** Values of each option within 2 % of the best in the first round. */
  flat: Record<string, unknown[]>;
  /** Tokens per GPU, and what the speed-up is there with the recommended setting. */
  batches: { tokensPerGpu: number; speedup: Interval }[];
  /** Whether other seeds give other batches at all. */
  seedsMatter: boolean;
}

/** What is tried of a policy where nobody says. */
const SPACES: Readonly<Record<string, TuneSpace>> = {
  llep: {
    alpha: [1, 1.05, 1.1, 1.25, 1.5, 2],
    minTokensPerGemm: [64, 256, 1024, 4096],
    imbalanceThreshold: [0, 1.1, 1.3, 1.6, 2, 3, 4],
  },
  'replicate-quantize': { replicas: [1, 2, 4, 8], split: ['even', 'least-loaded'] },
  capacity: { factor: [1, 1.1, 1.25, 1.5, 2, 3], order: ['position', 'score'] },
};

/** What is tried of a policy where nobody says; null where that is not known. */
export function defaultSpace(kind: string): TuneSpace | null {
  return SPACES[kind] ?? null;
}

/** Every combination of the values of a space, the last option changing fastest. */
export function settingsOf(space: TuneSpace): Setting[] {
  return Object.entries(space).reduce<Setting[]>(
    (settings, [option, values]) =>
      settings.flatMap((setting) => values.map((value) => ({ ...setting, [option]: value }))),
    [{}],
  );
}

/** One round of the search: the share of the steps that it runs, its seeds, and how many settings it lets pass. */
export interface Round {
  share: number;
  seeds: number;
  keep: number;
}

/** Settings of the last round, and by how many fewer each round lets pass. */
const FINALISTS = 8;
const HALVING = 3;

/**
 * Successive halving (Jamieson and Talwalkar, AISTATS 2016) with a third let pass: many settings on few steps and
 * one seed, then fewer on more.
 * @param seeds of the last round
 */
export function halvingRounds(settings: number, seeds: number): Round[] {
  const rounds: Round[] = [];
  for (let left = settings; left > FINALISTS; left = rounds.at(-1)!.keep) {
    rounds.push({ share: 0, seeds: 1, keep: Math.max(FINALISTS, Math.ceil(left / HALVING)) });
  }
  rounds.forEach((round, i) => {
    const toGo = rounds.length - i;
    round.share = 1 / HALVING ** toGo;
    round.seeds = Math.max(1, Math.floor(seeds / HALVING ** toGo));
  });
  return [...rounds, { share: 1, seeds, keep: 0 }];
}

/**
 * The settings that a round lets pass: those that fewest others beat in every objective, and among equals those
 * with the smallest sum of objectives over their least values. Of settings that score the same, one passes.
 * @param scores by setting and objective; less is better
 * @param changes by setting, options that differ from the policy's defaults: of equals the plainest passes
 * @returns their numbers, ascending
 */
export function survivors(
  scores: readonly (readonly number[])[],
  changes: readonly number[],
  keep: number,
): number[] {
  const least = scores[0].map((_, objective) => Math.min(...scores.map((score) => score[objective])));
  const rank = scores.map((score) => scores.filter((other) => dominates(other, score)).length);
  const sum = scores.map((score) =>
    score.reduce(
      (total, value, objective) => total + (least[objective] > 0 ? value / least[objective] : value),
      0,
    ),
  );
  const seen = new Set<string>();
  return scores
    .map((_, i) => i)
    .sort((a, b) => rank[a] - rank[b] || sum[a] - sum[b] || changes[a] - changes[b] || a - b)
    .filter((i) => {
      const text = scores[i].join();
      return !seen.has(text) && seen.add(text);
    })
    .slice(0, keep)
    .sort((a, b) => a - b);
}

/** Whether one score is nowhere worse than the other, and somewhere better. */
export function dominates(a: readonly number[], b: readonly number[]): boolean {
  return a.every((value, i) => value <= b[i]) && a.some((value, i) => value < b[i]);
}

/** Values of each option that some setting within `slack` of the best uses: how flat the optimum is. */
export function flatness(
  settings: readonly Setting[],
  scores: readonly number[],
  slack: number,
): Record<string, unknown[]> {
  const limit = Math.min(...scores) * (1 + slack);
  const near = settings.filter((_, i) => scores[i] <= limit);
  return Object.fromEntries(
    Object.keys(settings[0]).map((option) => [option, [...new Set(near.map((setting) => setting[option]))]]),
  );
}
