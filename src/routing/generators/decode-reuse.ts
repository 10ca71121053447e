import { z } from 'zod';
import { randomNormal } from 'd3-random';
import type { Random } from '../random.js';
import {
  allTokens,
  drawOptions,
  type Generator,
  type GeneratorSetting,
  type LayerDraw,
} from './generator.js';

/** Gives the classes of gate weights that HOBBIT publishes for Mixtral: 67 % high, 30 % low, 3 % skipped. */
const GATE_SCALE = 1.3;

const options = z.strictObject({
  kind: z.literal('decode-reuse'),
  preference: z
    .number()
    .min(0)
    .max(20)
    .default(0.35)
    .describe(
      'Standard deviation of what a sequence prefers, beside the scores of its tokens, which have 1.',
    ),
  correlation: z
    .number()
    .min(0)
    .max(0.999)
    .default(0.35)
    .describe('Of an expert’s scores in two tokens in a row of a sequence, preference apart.'),
  gateScale: z
    .number()
    .min(0)
    .max(100)
    .default(GATE_SCALE)
    .describe('What scores are multiplied by before the softmax over the chosen experts.'),
  sequenceTokens: z
    .int()
    .min(1)
    .default(128)
    .describe('Steps that a sequence lasts; then another one, with other preferences, takes its place.'),
  tokens: drawOptions.tokens.default(true),
  gateWeights: drawOptions.gateWeights.default(true),
});

type Options = z.infer<typeof options>;

/**
 * Decode in which tokens choose again what their sequence prefers and what the token before chose: every token of a step
 * belongs to a sequence of its own; an expert's score is the sequence's preference for it plus a first-order
 * autoregressive term; the topK highest scores are chosen, and their softmax is their gate. Made for HOBBIT
 * (arXiv 2411.01433), whose caches live of such reuse.
 */
export const decodeReuse: Generator<Options> = {
  kind: 'decode-reuse',
  summary: 'decode of live sequences that choose again what they prefer and what they chose last',
  options,
  sequenceSteps: ({ sequenceTokens }) => sequenceTokens,
  prepare: (chosen, setting) => reuseDraw(chosen, setting),
};

function reuseDraw(
  { preference, correlation, gateScale, sequenceTokens }: Options,
  setting: GeneratorSetting,
): LayerDraw {
  const { experts, topK, routerGroups, topGroups } = setting;
  if (topGroups < routerGroups) {
    throw new RangeError(
      `kind: found decode-reuse for a router that limits tokens to ${topGroups} of ${routerGroups} groups, allowed: ` +
        'another generator, or a model without such groups',
    );
  }
  const count = allTokens(setting);
  const preferred = new Float64Array(count * experts);
  const noise = new Float64Array(count * experts);
  const gates = new Float32Array(count * topK);
  const fresh = Math.sqrt(1 - correlation ** 2);
  let opens = true;

  const advance = (random: Random) => {
    const normal = randomNormal.source(random)();
    for (let i = 0; i < noise.length; i++) {
      if (opens) {
        preferred[i] = preference * normal();
        noise[i] = normal();
      } else noise[i] = correlation * noise[i] + fresh * normal();
    }
  };
  const score = (token: number, expert: number) =>
    preferred[token * experts + expert] + noise[token * experts + expert];

  return {
    constant: false,
    continues: true,
    redraw(_, step) {
      opens = step % sequenceTokens === 0;
    },
    counts: null,
    tokens(random, into) {
      advance(random);
      for (let token = 0; token < count; token++) {
        const at = token * topK;
        pickHighest(experts, topK, (expert) => score(token, expert), into, at);
        const highest = score(token, into[at]);
        let sum = 0;
        for (let j = at; j < at + topK; j++) {
          sum += gates[j] = Math.exp(gateScale * (score(token, into[j]) - highest));
        }
        for (let j = at; j < at + topK; j++) gates[j] /= sum;
      }
    },
    weights: (into) => into.set(gates),
  };
}

/** Writes the experts of the `picks` highest scores to into[at …], the highest first. */
function pickHighest(
  experts: number,
  picks: number,
  score: (expert: number) => number,
  into: Uint16Array,
  at: number,
): void {
  let filled = 0;
  for (let expert = 0; expert < experts; expert++) {
    const own = score(expert);
    let place = filled;
    while (place > 0 && score(into[at + place - 1]) < own) place--;
    if (place === picks) continue;
    if (filled < picks) filled++;
    for (let j = filled - 1; j > place; j--) into[at + j] = into[at + j - 1];
    into[at + place] = expert;
  }
}
