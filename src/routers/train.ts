import { randomNormal } from 'd3-random';
import { randomStream } from '../routing/index.js';
import { LinearRouter } from './linear-router.js';
import { Mixture, type Pass } from './mixture.js';
import { objectiveOf, type ObjectiveOptions } from './objectives/index.js';
import type { Training } from './objectives/objective.js';
import { Adam } from './parameter.js';
import type { EmbeddingBatch, World } from './world.js';

/** How a router is trained. */
export interface TrainOptions {
  experts: number;
  topK: number;
  /** Batches. */
  steps: number;
  /** Sequences of a batch. */
  batchSequences: number;
  /** Learning rate of Adam at first; it falls evenly to a hundredth of that. */
  rate: number;
}

/** A router after its training, its bias frozen. */
export interface TrainedRouter {
  /** Mean of half the squared error over the last tenth of the batches. */
  taskLoss: number;
  /** Mean of (RᵀR − I)² of a linear router; null for another. */
  similarity: number | null;
  /** Chosen experts and their weights, [token · topK + choice]. */
  route: (batch: EmbeddingBatch) => Pick<Pass, 'chosen' | 'weights'>;
}

/** A mixture at the start of its training. */
export function startTraining(
  world: World,
  objective: ObjectiveOptions,
  { experts, topK }: Pick<TrainOptions, 'experts' | 'topK'>,
  seed: number | string,
): { mixture: Mixture; training: Training } {
  const { dimension, nodes } = world.options;
  // The same first values whatever the objective, as far as routers are alike.
  const normal = randomNormal.source(randomStream(seed, 'routers/start'))();
  const training = objectiveOf(objective).start(objective, { dimension, experts, topK, nodes, normal });
  const expertNormal = randomNormal.source(randomStream(seed, 'routers/experts'))();
  const mixture = new Mixture(training.router, training.gate, dimension, experts, topK, expertNormal);
  return { mixture, training };
}

/**
 * Trains a router and its experts on batches from a world. All objectives see the same batches.
 * @throws RangeError where the objective does not fit the world
 */
export function trainRouter(
  world: World,
  objective: ObjectiveOptions,
  options: TrainOptions,
  seed: number | string,
): TrainedRouter {
  const { steps, batchSequences, rate } = options;
  const { mixture, training } = startTraining(world, objective, options, seed);
  const adam = new Adam(mixture.parameters);
  const batches = randomStream(seed, 'routers/batches');
  const noise = randomStream(seed, 'routers/noise');
  const last = Math.max(1, Math.floor(steps / 10));
  let taskLoss = 0;
  for (let step = 1; step <= steps; step++) {
    const pass = mixture.forward(world.draw(batchSequences, batches), training.bias, true);
    training.add(pass, noise);
    mixture.backward(pass);
    adam.update(rate * (1 - (0.99 * (step - 1)) / steps));
    training.update(pass.loads, step);
    if (step > steps - last) taskLoss += pass.taskLoss / last;
  }
  const { router, bias } = training;
  return {
    taskLoss,
    similarity: router instanceof LinearRouter ? meanSquare(router.similarity()) : null,
    route: (batch) => mixture.forward(batch, bias, false),
  };
}

function meanSquare(values: Float64Array): number {
  return values.reduce((sum, x) => sum + x * x, 0) / values.length;
}
