import { randomGamma, randomNormal } from 'd3-random';
import type { Random } from '../routing/index.js';
import { randomStream } from '../routing/index.js';

/** The world that routers are trained in: embeddings in clusters, and what experts should make of them. */
export interface WorldOptions {
  /** Features of an embedding. */
  dimension: number;
  /** Clusters of embeddings; their popularity falls as rank^−0.7. */
  clusters: number;
  /** Length of the embeddings' common mean over that of their differences; the more, the more routers collapse. */
  commonMean: number;
  /** Root mean square of an embedding's features: the larger, the more decided a fresh router. */
  gain: number;
  /** Topics; a sequence is of one, and every topic has its own popular clusters. */
  topics: number;
  /** Tokens of a sequence. */
  sequenceTokens: number;
  /** Nodes that sequences come from. */
  nodes: number;
  /** Share of the sequences that come from their topic's home node; the others come from any. */
  locality: number;
}

/** Tokens with what a router sees of them and what the mixture should answer. */
export interface EmbeddingBatch {
  tokens: number;
  /** [token · dimension + feature] */
  inputs: Float64Array;
  /** [token · OUTPUTS + output] */
  targets: Float64Array;
  /** Node that every token comes from. */
  nodes: Uint16Array;
  /** Topic of every sequence. */
  topics: Uint16Array;
}

/** Numbers that experts answer with. */
export const OUTPUTS = 8;
/** Linear maps of which each cluster follows one; what experts should learn. */
const TEACHERS = 32;
const ZIPF_EXPONENT = 0.7;
/** Standard deviation within a cluster; centres have 1. */
const WITHIN = 0.7;
/** Shape of the gamma draws that a topic reweights clusters with: the smaller, the fewer clusters it has. */
const TOPIC_SHAPE = 0.3;

/**
 * A world drawn from a seed. The most popular cluster must have far less than topK / experts of the tokens, or no
 * router could balance them: with 1,024 clusters it has 4 %.
 */
export class World {
  private readonly centres: Float64Array;
  private readonly mean: Float64Array;
  private readonly teacherOf: Uint8Array;
  private readonly teachers: Float64Array;
  /** Cumulated popularity by topic, [topic · clusters + cluster]. */
  private readonly cumulated: Float64Array;

  constructor(
    readonly options: WorldOptions,
    seed: number | string,
  ) {
    const { dimension, clusters, commonMean, topics } = options;
    const random = randomStream(seed, 'routers/world');
    const normal = randomNormal.source(random)();
    this.centres = Float64Array.from({ length: clusters * dimension }, normal);
    const direction = Float64Array.from({ length: dimension }, normal);
    const length = Math.hypot(...direction);
    // A difference of embeddings has the centre's and the cluster's own variance in every feature.
    const size = (commonMean * Math.sqrt(dimension * (1 + WITHIN ** 2))) / length;
    this.mean = direction.map((feature) => feature * size);
    this.teacherOf = Uint8Array.from({ length: clusters }, () => Math.floor(random() * TEACHERS));
    this.teachers = Float64Array.from(
      { length: TEACHERS * dimension * OUTPUTS },
      () => normal() / Math.sqrt(dimension),
    );
    const gamma = randomGamma.source(random)(TOPIC_SHAPE, 1 / TOPIC_SHAPE);
    this.cumulated = new Float64Array(topics * clusters);
    for (let topic = 0; topic < topics; topic++) {
      let sum = 0;
      for (let cluster = 0; cluster < clusters; cluster++) {
        sum += gamma() * (cluster + 1) ** -ZIPF_EXPONENT;
        this.cumulated[topic * clusters + cluster] = sum;
      }
      for (let cluster = 0; cluster < clusters; cluster++) this.cumulated[topic * clusters + cluster] /= sum;
    }
  }

  /**
   * Whole sequences, each from one node.
   * @param from node of every sequence; undefined: as topics have it
   */
  draw(sequences: number, random: Random, from?: (sequence: number) => number): EmbeddingBatch {
    const { dimension, clusters, gain, topics, sequenceTokens, nodes, locality } = this.options;
    const normal = randomNormal.source(random)();
    const tokens = sequences * sequenceTokens;
    const batch: EmbeddingBatch = {
      tokens,
      inputs: new Float64Array(tokens * dimension),
      targets: new Float64Array(tokens * OUTPUTS),
      nodes: new Uint16Array(tokens),
      topics: new Uint16Array(sequences),
    };
    for (let sequence = 0; sequence < sequences; sequence++) {
      const node = from?.(sequence) ?? Math.floor(random() * nodes);
      // Topics have their home at topic mod nodes; a node without topics of its own gets any.
      const own = Math.ceil((topics - node) / nodes);
      const atHome = random() < locality && own > 0;
      const topic = atHome ? node + nodes * Math.floor(random() * own) : Math.floor(random() * topics);
      batch.topics[sequence] = topic;
      for (let t = sequence * sequenceTokens; t < (sequence + 1) * sequenceTokens; t++) {
        batch.nodes[t] = node;
        const cluster = this.clusterAt(topic, random(), clusters);
        let square = 0;
        for (let j = 0; j < dimension; j++) {
          const feature = this.centres[cluster * dimension + j] + WITHIN * normal() + this.mean[j];
          batch.inputs[t * dimension + j] = feature;
          square += feature ** 2;
        }
        const scale = gain / Math.sqrt(square / dimension);
        for (let j = 0; j < dimension; j++) batch.inputs[t * dimension + j] *= scale;
        this.teach(this.teacherOf[cluster], batch, t);
      }
    }
    return batch;
  }

  private clusterAt(topic: number, u: number, clusters: number): number {
    let [low, high] = [topic * clusters, (topic + 1) * clusters - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.cumulated[middle] > u) high = middle;
      else low = middle + 1;
    }
    return low - topic * clusters;
  }

  private teach(teacher: number, { inputs, targets }: EmbeddingBatch, token: number): void {
    const { dimension } = this.options;
    const from = teacher * dimension * OUTPUTS;
    for (let j = 0; j < dimension; j++) {
      const feature = inputs[token * dimension + j];
      for (let o = 0; o < OUTPUTS; o++) {
        targets[token * OUTPUTS + o] += feature * this.teachers[from + j * OUTPUTS + o];
      }
    }
  }
}
