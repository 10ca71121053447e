import { z } from 'zod';
import type { CandidateTable } from '../candidates.js';
import type { Random } from '../random.js';

/** What a generator knows of the model and the batch. */
export interface GeneratorSetting {
  gpus: number;
  experts: number;
  topK: number;
  routerGroups: number;
  topGroups: number;
  tokensPerGpu: number;
  /** Tokens by source GPU, where they are not all tokensPerGpu. */
  tokensBySource?: Int32Array;
}

/** Tokens of a source GPU. */
export function tokensOf({ tokensBySource, tokensPerGpu }: GeneratorSetting, source: number): number {
  return tokensBySource ? tokensBySource[source] : tokensPerGpu;
}

/** Tokens of all source GPUs. */
export function allTokens({ tokensBySource, tokensPerGpu, gpus }: GeneratorSetting): number {
  return tokensBySource ? tokensBySource.reduce((sum, tokens) => sum + tokens, 0) : gpus * tokensPerGpu;
}

/** How one layer routes. Its arrays are reused from draw to draw. */
export interface LayerDraw {
  /** True where there is no popularity to draw and every draw is the same, so that one serves all steps. */
  constant: boolean;
  /** Draws popularity anew for a step (the calibration counts as step 0); called before anything else. */
  redraw(random: Random, step: number): void;
  /** Draws copies per expert for the tokens of one source GPU; null where only tokens can be drawn. */
  counts: ((source: number, random: Random, into: Int32Array) => void) | null;
  /** Draws the experts of all tokens, source by source, [token · topK + choice]. */
  tokens(random: Random, into: Uint16Array): void;
  /** Where the scores of more experts than the chosen ones are drawn: the same with weights, and all candidates. */
  gates?(random: Random, picks: Uint16Array, weights: Float32Array, candidates: CandidateTable): void;
  /** Writes the gate weights of the tokens drawn last, in their order; default: weights that no choice hangs on. */
  weights?(into: Float32Array): void;
  /** True where a step goes on from the one before, so that every stream of steps needs a draw of its own. */
  continues?: boolean;
}

/** A family of synthetic routing: its options, and how it draws one layer. */
export interface Generator<Options = never> {
  kind: string;
  /** One line for `epsim list`. */
  summary: string;
  options: z.ZodType<Options>;
  /** Things that a reader of the result must know of a run of so many steps. */
  notes?(options: Options, setting: GeneratorSetting, steps: number): string[];
  /** Steps after which all sequences are new ones; default: nobody knows. */
  sequenceSteps?(options: Options): number;
  /**
   * Tokens by source GPU; null: tokensPerGpu of each. @throws RangeError where the options don't fit the setting
   */
  tokensBySource?(options: Options, setting: GeneratorSetting): Int32Array | null;
  /** @throws RangeError where the options don't fit the setting */
  prepare(options: Options, setting: GeneratorSetting): LayerDraw;
}

/** Options that say what a run draws. */
export const drawOptions = {
  tokens: z
    .boolean()
    .default(false)
    .describe(
      'Draw token by token instead of counts per source GPU: slower; needed by what looks at tokens.',
    ),
  gateWeights: z
    .boolean()
    .default(false)
    .describe('Draw synthetic gate weights too (falling over the choices, summing to 1); implies tokens.'),
};

/** Options of generators with a random popularity. */
export const popularityOptions = {
  ...drawOptions,
  perLayer: z.boolean().default(true).describe('Every layer has its own popularity.'),
  redraw: z
    .enum(['step', 'run'])
    .default('step')
    .describe('When popularity is drawn anew: every step (no history helps), or once for the run.'),
  permute: z
    .boolean()
    .default(true)
    .describe('Popular experts are anywhere; false: the first ids are the popular ones.'),
};
