import {
  addNormaliseGradient,
  addProduct,
  addProductTransposed,
  addSoftmaxGradient,
  addTransposedProduct,
  normaliseRows,
  softmaxRows,
} from './dense.js';
import { parameter, type Parameter } from './parameter.js';
import type { Router } from './router.js';
import type { EmbeddingBatch } from './world.js';

/** Numbers of a token's latent and of a prototype. */
export const LATENT = 16;

/**
 * The router of Latent Prototype Routing (arXiv 2506.21328; RANDO11199/LatentPrototypeRouter): a token's features
 * become the mean μ and the log-variance of a latent; an expert's score is the cosine of μ and the expert's
 * prototype; what the scores read out of the prototypes is added to what the experts get.
 */
export class PrototypeRouter implements Router {
  /** [dimension × 2 · LATENT]: means, then log-variances. */
  readonly encoder: Parameter;
  /** [experts × LATENT] */
  readonly prototypes: Parameter;
  /** [LATENT × dimension] */
  readonly readOut: Parameter;
  readonly parameters: readonly Parameter[];
  expertInputs: Float64Array = new Float64Array(0);
  /** Of the batch at hand, [token × LATENT]. */
  means: Float64Array = new Float64Array(0);
  logVariances: Float64Array = new Float64Array(0);
  /** Gradients by means and log-variances that objectives add to before the backward pass. */
  meansGradient: Float64Array = new Float64Array(0);
  logVariancesGradient: Float64Array = new Float64Array(0);
  private features: Float64Array = new Float64Array(0);
  private unitMeans: Float64Array = new Float64Array(0);
  private unitPrototypes: Float64Array = new Float64Array(0);
  private meanLengths: Float64Array = new Float64Array(0);
  private prototypeLengths: Float64Array = new Float64Array(0);
  private shares: Float64Array = new Float64Array(0);
  private read: Float64Array = new Float64Array(0);

  constructor(
    readonly dimension: number,
    readonly experts: number,
    normal: () => number,
  ) {
    this.encoder = parameter('encoder', dimension * 2 * LATENT, () => normal() / Math.sqrt(dimension));
    this.prototypes = parameter('prototypes', experts * LATENT, normal);
    this.readOut = parameter('read-out', LATENT * dimension, () => (0.1 * normal()) / Math.sqrt(LATENT));
    this.parameters = [this.encoder, this.prototypes, this.readOut];
  }

  forward({ tokens, inputs }: EmbeddingBatch): Float64Array {
    const { dimension, experts } = this;
    this.features = featuresOf(inputs, tokens, dimension);
    const encoded = new Float64Array(tokens * 2 * LATENT);
    addProduct(this.features, this.encoder.values, tokens, dimension, 2 * LATENT, encoded);
    this.means = new Float64Array(tokens * LATENT);
    this.logVariances = new Float64Array(tokens * LATENT);
    for (let t = 0; t < tokens; t++) {
      for (let j = 0; j < LATENT; j++) {
        this.means[t * LATENT + j] = encoded[t * 2 * LATENT + j];
        this.logVariances[t * LATENT + j] = encoded[t * 2 * LATENT + LATENT + j];
      }
    }
    this.meansGradient = new Float64Array(tokens * LATENT);
    this.logVariancesGradient = new Float64Array(tokens * LATENT);
    this.unitMeans = new Float64Array(tokens * LATENT);
    this.meanLengths = normaliseRows(this.means, tokens, LATENT, this.unitMeans);
    this.unitPrototypes = new Float64Array(experts * LATENT);
    this.prototypeLengths = normaliseRows(this.prototypes.values, experts, LATENT, this.unitPrototypes);
    const scores = new Float64Array(tokens * experts);
    addProductTransposed(this.unitMeans, this.unitPrototypes, tokens, LATENT, experts, scores);
    this.shares = new Float64Array(tokens * experts);
    softmaxRows(scores, tokens, experts, this.shares);
    this.read = new Float64Array(tokens * LATENT);
    addProduct(this.shares, this.prototypes.values, tokens, experts, LATENT, this.read);
    this.expertInputs = inputs.slice();
    addProduct(this.read, this.readOut.values, tokens, LATENT, dimension, this.expertInputs);
    return scores;
  }

  backward({ tokens }: EmbeddingBatch, scores: Float64Array, expertInputs: Float64Array | null): void {
    const { dimension, experts, prototypes } = this;
    const gradient = scores.slice();
    if (expertInputs) {
      addTransposedProduct(this.read, expertInputs, tokens, LATENT, dimension, this.readOut.gradient);
      const read = new Float64Array(tokens * LATENT);
      addProductTransposed(expertInputs, this.readOut.values, tokens, dimension, LATENT, read);
      addTransposedProduct(this.shares, read, tokens, experts, LATENT, prototypes.gradient);
      const shares = new Float64Array(tokens * experts);
      addProductTransposed(read, prototypes.values, tokens, LATENT, experts, shares);
      addSoftmaxGradient(this.shares, shares, tokens, experts, gradient);
    }
    const unitMeans = new Float64Array(tokens * LATENT);
    addProduct(gradient, this.unitPrototypes, tokens, experts, LATENT, unitMeans);
    addNormaliseGradient(this.unitMeans, this.meanLengths, unitMeans, tokens, LATENT, this.meansGradient);
    const unitPrototypes = new Float64Array(experts * LATENT);
    addTransposedProduct(gradient, this.unitMeans, tokens, experts, LATENT, unitPrototypes);
    addNormaliseGradient(
      this.unitPrototypes,
      this.prototypeLengths,
      unitPrototypes,
      experts,
      LATENT,
      prototypes.gradient,
    );
    const encoded = new Float64Array(tokens * 2 * LATENT);
    for (let t = 0; t < tokens; t++) {
      for (let j = 0; j < LATENT; j++) {
        encoded[t * 2 * LATENT + j] = this.meansGradient[t * LATENT + j];
        encoded[t * 2 * LATENT + LATENT + j] = this.logVariancesGradient[t * LATENT + j];
      }
    }
    addTransposedProduct(this.features, encoded, tokens, dimension, 2 * LATENT, this.encoder.gradient);
  }

  /**
   * Mean of (ĤĤᵀ − I)² over the pairs of rows of length 1, of tokens' means or of prototypes, and its gradient:
   * small where the rows point in different directions. ĤᵀĤ says it without the product of all pairs.
   */
  addDiversity(of: 'means' | 'prototypes', weight: number): number {
    const isMeans = of === 'means';
    const unit = isMeans ? this.unitMeans : this.unitPrototypes;
    const lengths = isMeans ? this.meanLengths : this.prototypeLengths;
    const rows = unit.length / LATENT;
    const gram = new Float64Array(LATENT * LATENT);
    addTransposedProduct(unit, unit, rows, LATENT, LATENT, gram);
    const gradient = new Float64Array(unit.length);
    addProduct(unit, gram, rows, LATENT, LATENT, gradient);
    for (let i = 0; i < gradient.length; i++) {
      gradient[i] = (4 * weight * (gradient[i] - unit[i])) / rows ** 2;
    }
    const into = isMeans ? this.meansGradient : this.prototypes.gradient;
    addNormaliseGradient(unit, lengths, gradient, rows, LATENT, into);
    return (weight * (gram.reduce((sum, x) => sum + x * x, 0) - rows)) / rows ** 2;
  }
}

/** Features that the encoder reads: LayerNorm, then SiLU. */
function featuresOf(inputs: Float64Array, tokens: number, dimension: number): Float64Array {
  const features = new Float64Array(inputs.length);
  for (let t = 0; t < tokens; t++) {
    const row = t * dimension;
    let [sum, squares] = [0, 0];
    for (let j = 0; j < dimension; j++) {
      sum += inputs[row + j];
      squares += inputs[row + j] ** 2;
    }
    const mean = sum / dimension;
    const deviation = Math.sqrt(squares / dimension - mean * mean + 1e-5);
    for (let j = 0; j < dimension; j++) {
      const x = (inputs[row + j] - mean) / deviation;
      features[row + j] = x / (1 + Math.exp(-x));
    }
  }
  return features;
}
