import type { EmbeddingBatch } from './world.js';
import type { Parameter } from './parameter.js';

/** What gives every expert a score for every token. */
export interface Router {
  readonly parameters: readonly Parameter[];
  /** Scores of a batch, [token · experts + expert]; kept for the backward pass. */
  forward(batch: EmbeddingBatch): Float64Array;
  /** What experts get instead of the embeddings; null: the embeddings. */
  readonly expertInputs: Float64Array | null;
  /**
   * Adds the gradients of the parameters.
   * @param scores gradient by the scores
   * @param expertInputs gradient by `expertInputs`, where there are such
   */
  backward(batch: EmbeddingBatch, scores: Float64Array, expertInputs: Float64Array | null): void;
}
