import { z } from 'zod';
import type { Random } from '../random.js';
import type { TokenTable } from '../source.js';

/** A token table with gate weights, which every pruning looks at. */
export type WeightedTokens = TokenTable & { weights: Float32Array };

/** Says which of a token's experts are skipped. */
export interface PruningRule<Options = unknown, Input = unknown> {
  kind: string;
  /** One line for `epsim list`. */
  summary: string;
  options: z.ZodType<Options, Input>;
  /** Share of a recording's tokens that it learns from before the run; 0: none. */
  calibrationShare(options: Options): number;
  /** Things that a reader of the result must know. */
  notes(options: Options): string[];
  /**
   * @param calibration the part it learns from, by layer; empty where it asks for none
   * @throws RangeError where the options don't fit the routing
   */
  start(options: Options, topK: number, calibration: readonly WeightedTokens[]): Pruner;
}

/** A rule at work. */
export interface Pruner {
  /**
   * Writes 1 for every copy that is kept and 0 for the others.
   * @param layer index among those of the source
   * @param random draws of this layer and step
   * @param kept [token · topK + choice]
   */
  keep(tokens: WeightedTokens, layer: number, random: () => Random, kept: Uint8Array): void;
}

/** The copy with a token's largest weight, the first among equals. */
export function firstChoice({ topK, weights }: WeightedTokens, token: number): number {
  let best = token * topK;
  for (let copy = best + 1; copy < (token + 1) * topK; copy++) if (weights[copy] > weights[best]) best = copy;
  return best;
}
