import { z } from 'zod';
import { randomStream, rowsInMemory, type TokenTrace } from '../routing/index.js';
import type { ObjectiveOptions } from './objectives/index.js';
import { trainRouter, type TrainedRouter, type TrainOptions } from './train.js';
import { World } from './world.js';

/** Experts up to which the small world is large enough. */
const FEW_EXPERTS = 64;

/** What a lab is made of, where a user says otherwise. */
export const labSchema = z.strictObject({
  steps: z.int().min(10).max(100_000).default(400).describe('Batches that a router is trained on.'),
  batchSequences: z.int().min(1).max(1000).default(8).describe('Sequences of a training batch.'),
  rate: z
    .number()
    .gt(0)
    .max(1)
    .default(0.01)
    .describe('Learning rate of Adam; falls to a hundredth of that.'),
  dimension: z
    .int()
    .min(2)
    .max(1024)
    .optional()
    .describe('Features of an embedding; default: 32, or 64 for more than 64 experts.'),
  clusters: z.int().min(2).max(65_536).optional().describe('Clusters of embeddings; default: 1024, or 2048.'),
  commonMean: z
    .number()
    .min(0)
    .max(10)
    .default(1.5)
    .describe('Common mean over differences of embeddings: the more, the more routers collapse.'),
  gain: z.number().gt(0).max(100).default(1).describe('Root mean square of an embedding’s features.'),
  topics: z.int().min(1).max(1000).default(16).describe('Topics; every sequence is of one.'),
  sequenceTokens: z.int().min(1).max(65_536).default(64).describe('Tokens of a sequence.'),
  locality: z
    .number()
    .min(0)
    .max(1)
    .default(0.8)
    .describe('Share of the sequences that come from the home node of their topic.'),
});

export type LabOptions = z.output<typeof labSchema>;

/** The shapes that routers of a lab are trained for, and the steps that they are recorded in. */
export interface LabSetting {
  experts: number;
  topK: number;
  gpus: number;
  gpusPerNode: number;
  tokensPerGpu: number;
  steps: number;
}

/** A router, and the routing of unseen sequences by it. */
export interface RecordedRouter {
  trained: Omit<TrainedRouter, 'route'>;
  trace: TokenTrace;
}

/** Trains routers in one world, and records what they do with other sequences than they were trained on. */
export class RouterLab {
  readonly world: World;
  private readonly options: TrainOptions;

  /** @throws RangeError where options and setting do not fit */
  constructor(
    lab: LabOptions,
    private readonly setting: LabSetting,
    private readonly seed: number | string,
  ) {
    const { experts, topK, gpus, gpusPerNode, tokensPerGpu } = setting;
    const { sequenceTokens } = lab;
    if (tokensPerGpu % sequenceTokens !== 0) {
      throw new RangeError(
        `workload.tokensPerGpu: found ${tokensPerGpu}, allowed: a multiple of the lab's sequences of ${sequenceTokens} tokens`,
      );
    }
    const isLarge = experts > FEW_EXPERTS;
    this.world = new World(
      {
        dimension: lab.dimension ?? (isLarge ? 64 : 32),
        clusters: lab.clusters ?? (isLarge ? 2048 : 1024),
        commonMean: lab.commonMean,
        gain: lab.gain,
        topics: lab.topics,
        sequenceTokens,
        nodes: Math.max(1, gpus / gpusPerNode),
        locality: lab.locality,
      },
      seed,
    );
    const { steps, batchSequences, rate } = lab;
    this.options = { experts, topK, steps, batchSequences, rate };
  }

  /** @throws RangeError where the objective does not fit the lab */
  train(objective: ObjectiveOptions): RecordedRouter {
    const router = trainRouter(this.world, objective, this.options, this.seed);
    const { route, ...trained } = router;
    return { trained, trace: this.record(route, objective) };
  }

  /** One calibration step and the setting's steps, every GPU with sequences from its own node. */
  private record(route: TrainedRouter['route'], objective: ObjectiveOptions): TokenTrace {
    const { experts, topK, gpus, gpusPerNode, tokensPerGpu, steps } = this.setting;
    const { sequenceTokens, topics } = this.world.options;
    const perGpu = tokensPerGpu / sequenceTokens;
    const stepTokens = gpus * tokensPerGpu;
    const tokens = stepTokens * (steps + 1);
    const picks = new Uint16Array(tokens * topK);
    const weights = new Float32Array(tokens * topK);
    const source = new Uint16Array(tokens);
    const domains = new Uint16Array(tokens / sequenceTokens);
    const random = randomStream(this.seed, 'routers/recording');
    for (let step = 0; step <= steps; step++) {
      for (let gpu = 0; gpu < gpus; gpu++) {
        const first = step * stepTokens + gpu * tokensPerGpu;
        const batch = this.world.draw(perGpu, random, () => Math.floor(gpu / gpusPerNode));
        const routed = route(batch);
        picks.set(routed.chosen, first * topK);
        weights.set(routed.weights, first * topK);
        source.fill(gpu, first, first + tokensPerGpu);
        domains.set(batch.topics, first / sequenceTokens);
      }
    }
    return {
      kind: 'tokens',
      header: {
        schema: 'epsim/trace@1',
        kind: 'tokens',
        model: 'router lab',
        experts,
        topK,
        layerIds: [0],
        gpus,
        steps,
        domains: Array.from({ length: topics }, (_, topic) => `topic ${topic}`),
        source: `epsim routers train, objective ${JSON.stringify(objective)}, seed ${this.seed}`,
        licence: '',
        notes: [
          'routing of a toy router over clustered embeddings: it shows what an objective does, not what a model would',
        ],
      },
      tokens,
      rows: rowsInMemory(tokens, picks, weights),
      sequenceStarts: Int32Array.from({ length: domains.length + 1 }, (_, i) => i * sequenceTokens),
      sequenceDomains: domains,
      batches: {
        starts: Int32Array.from({ length: steps + 2 }, (_, step) => step * stepTokens),
        calibrationSteps: 1,
        source,
      },
      phase: null,
      padding: null,
    };
  }
}
