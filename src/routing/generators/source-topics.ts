import { randomNormal } from 'd3-random';
import { z } from 'zod';
import { drawOptions, tokensOf, type Generator, type GeneratorSetting, type LayerDraw } from './generator.js';
import { popularityDraw } from './popularity-draw.js';

const options = z.strictObject({
  kind: z.literal('source-topics'),
  gpusPerTopic: z
    .int()
    .min(1)
    .default(8)
    .describe('Source GPUs (neighbours) whose tokens have one topic: those of a node, usually.'),
  sigma: z.number().min(0).max(20).default(0.8).describe('Standard deviation of log-popularity.'),
  shared: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe(
      'Share of the variance of log-popularity that all topics have in common; 1: topics do not differ.',
    ),
  homeShare: z
    .number()
    .min(0)
    .max(1)
    .nullable()
    .default(null)
    .describe(
      "Share of a topic's copies that go to experts at home (contiguously) on its own GPUs, as a router learns that is " +
        'trained for locality; null: as popularity has it. A topic without experts at home stays as it is.',
    ),
  redraw: z
    .enum(['step', 'run'])
    .default('run')
    .describe('When popularity is drawn anew: every step (no history helps), or once for the run.'),
  ...drawOptions,
  perLayer: z.boolean().default(true).describe('Every layer has its own popularity.'),
});

type Options = z.infer<typeof options>;

/**
 * Topics that belong to source GPUs: the tokens of some neighbouring GPUs share a log-normal popularity of experts, which
 * other GPUs' tokens do not have. Locality (of a placement, or of a router) has something to gain only where data lie so.
 */
export const sourceTopics: Generator<Options> = {
  kind: 'source-topics',
  summary: 'topics that belong to source GPUs or nodes, each with popular experts of its own',
  options,
  prepare: topicsDraw,
};

function topicsDraw(
  { gpusPerTopic, sigma, shared, homeShare }: Options,
  setting: GeneratorSetting,
): LayerDraw {
  const { gpus, experts, topK } = setting;
  if (gpus % gpusPerTopic !== 0) {
    throw new RangeError(
      `gpusPerTopic: found ${gpusPerTopic} for ${gpus} GPUs, allowed: a divisor of the GPUs (gpusPerTopic: 1)`,
    );
  }
  const common = new Float64Array(experts);
  const topics = Array.from({ length: gpus / gpusPerTopic }, (_, topic) => {
    const first = topic * gpusPerTopic;
    const isOwn = (gpu: number) => gpu >= first && gpu < first + gpusPerTopic;
    const tokensBySource = Int32Array.from({ length: gpus }, (_, gpu) =>
      isOwn(gpu) ? tokensOf(setting, gpu) : 0,
    );
    const tokens = tokensBySource.reduce((sum, own) => sum + own, 0);
    const atHome = Array.from({ length: experts }, (_, e) => isOwn(Math.floor((e * gpus) / experts)));
    const draw = popularityDraw({ ...setting, tokensBySource }, false, (popularity, random) => {
      const normal = randomNormal.source(random)();
      for (let e = 0; e < experts; e++) {
        popularity[e] = Math.exp(sigma * (common[e] + Math.sqrt(1 - shared) * normal()));
      }
      if (homeShare !== null) moveHome(popularity, atHome, homeShare);
    });
    return { draw, tokens };
  });
  const topicOf = (source: number) => topics[Math.floor(source / gpusPerTopic)].draw;
  return {
    constant: false,
    redraw(random, step) {
      const normal = randomNormal.source(random)();
      for (let e = 0; e < experts; e++) common[e] = Math.sqrt(shared) * normal();
      for (const { draw } of topics) draw.redraw(random, step);
    },
    counts: (source, random, into) => topicOf(source).counts!(source, random, into),
    tokens(random, into) {
      let at = 0;
      for (const { draw, tokens } of topics) {
        draw.tokens(random, into.subarray(at, at + tokens * topK));
        at += tokens * topK;
      }
    },
  };
}

/** Gives experts at home this share of all popularity; nothing where there is none, or no other. */
function moveHome(popularity: Float64Array, atHome: readonly boolean[], share: number): void {
  let home = 0;
  let away = 0;
  for (let e = 0; e < popularity.length; e++) {
    if (atHome[e]) home += popularity[e];
    else away += popularity[e];
  }
  if (home === 0 || away === 0) return;
  for (let e = 0; e < popularity.length; e++) {
    popularity[e] *= atHome[e] ? share / home : (1 - share) / away;
  }
}
