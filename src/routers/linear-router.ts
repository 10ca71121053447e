import { addProduct, addTransposedProduct } from './dense.js';
import { parameter, type Parameter } from './parameter.js';
import type { Router } from './router.js';
import type { EmbeddingBatch } from './world.js';

/** The router of nearly every MoE: scores = x R, with R of shape [dimension × experts]. */
export class LinearRouter implements Router {
  readonly matrix: Parameter;
  readonly parameters: readonly Parameter[];
  readonly expertInputs = null;

  /** @param orthogonal whether the columns of R start orthonormal (else: normal, of length 1 on average) */
  constructor(
    readonly dimension: number,
    readonly experts: number,
    normal: () => number,
    orthogonal: boolean,
  ) {
    this.matrix = parameter('router', dimension * experts, () => normal() / Math.sqrt(dimension));
    if (orthogonal) orthonormaliseColumns(this.matrix.values, dimension, experts);
    this.parameters = [this.matrix];
  }

  forward({ tokens, inputs }: EmbeddingBatch): Float64Array {
    const scores = new Float64Array(tokens * this.experts);
    addProduct(inputs, this.matrix.values, tokens, this.dimension, this.experts, scores);
    return scores;
  }

  backward({ tokens, inputs }: EmbeddingBatch, scores: Float64Array): void {
    addTransposedProduct(inputs, scores, tokens, this.dimension, this.experts, this.matrix.gradient);
  }

  /** RᵀR − I, [expert · experts + expert]: how far the experts' directions are from orthonormal. */
  similarity(): Float64Array {
    const { experts, dimension } = this;
    const difference = new Float64Array(experts * experts);
    addTransposedProduct(this.matrix.values, this.matrix.values, dimension, experts, experts, difference);
    for (let e = 0; e < experts; e++) difference[e * experts + e]--;
    return difference;
  }
}

/** Gram–Schmidt, twice for the sake of rounding. */
function orthonormaliseColumns(values: Float64Array, rows: number, columns: number): void {
  for (let pass = 0; pass < 2; pass++) {
    for (let c = 0; c < columns; c++) {
      for (let before = 0; before < c; before++) {
        let along = 0;
        for (let r = 0; r < rows; r++) along += values[r * columns + c] * values[r * columns + before];
        for (let r = 0; r < rows; r++) values[r * columns + c] -= along * values[r * columns + before];
      }
      let square = 0;
      for (let r = 0; r < rows; r++) square += values[r * columns + c] ** 2;
      for (let r = 0; r < rows; r++) values[r * columns + c] /= Math.sqrt(square);
    }
  }
}
