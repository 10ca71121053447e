import type { Random } from '../random.js';

/** First token and end of a sequence. */
export type Sequence = readonly [start: number, end: number];

export interface BatchingSpec {
  /** Sequences to replay, in recorded order. */
  sequences: readonly Sequence[];
  gpus: number;
  tokensPerGpu: number;
  /** When the sequences are used up, go on with sequences drawn with replacement. */
  resample: boolean;
  /** A fresh random stream; every pass over the steps starts one. */
  random: () => Random;
}

/** Which tokens form a step, source GPU by source GPU: token i comes from GPU ⌊i / tokensPerGpu⌋. */
export type TokenBatch = Int32Array;

/** A way to form steps of gpus · tokensPerGpu tokens from recorded sequences. */
export interface Batching {
  kind: string;
  /** One line for `epsim list`. */
  summary: string;
  /** Yields steps until the sequences are used up. The batch is overwritten by the next one. */
  steps(spec: BatchingSpec): Generator<TokenBatch, void>;
}

/** Sequences in recorded order, then, with `resample`, drawn with replacement without end. */
export function* sequenceSupply({ sequences, resample, random }: BatchingSpec): Generator<Sequence, void> {
  yield* sequences;
  if (!resample) return;
  const draw = random();
  for (;;) yield sequences[Math.floor(draw() * sequences.length)];
}
