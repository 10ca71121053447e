import type { Setting } from './tune-space.js';

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
