import type { LeadingWork } from '../leading-work.js';
import type { Traffic } from '../traffic/index.js';

/** Bytes of an expert's count, an int32. */
export const COUNT_BYTES = 4;

/** Tasks, transfers and buffers by GPU of a batch, or of one half of it, up to its dispatch. */
export interface Begun {
  traffic: Traffic;
  leading: LeadingWork;
  /** The sum of attention's outputs within a group; −1 where a GPU has tokens of its own. */
  summed: number;
  front: number[];
  route: number[];
  planning: Planning | null;
  /** Reads that the host blocks on before the dispatch; null: none. */
  reads: number[] | null;
  shared: number[];
  dispatch: { task: number; transfer: number };
  activations: number[];
  received: number[];
}

/** What a policy adds that plans from the counts of the whole batch. */
export interface Planning {
  /** Counting copies, and the exchange of counts; null and −1 where tokens bring them. */
  count: number[] | null;
  transfer: number;
  plan: number[];
}

/** A whole part. */
export interface Part extends Begun {
  back: number[];
  experts: number[];
  combine: number;
  /** The gathering of outputs within a group; −1 without. */
  gathered: number;
  intermediates: number[];
  results: number[];
  /** Tokens by source GPU with those that only fill a captured batch. */
  padded: Float64Array;
  /** What its dispatch sends, in messages. */
  matrix: Float64Array;
  /** Whether its kernels are launched one by one. */
  eager: boolean;
}

/** Weights that travel into every GPU within the step. */
export interface Borrowing {
  task: number[];
  transfer: number[];
  buffer: number[];
}
