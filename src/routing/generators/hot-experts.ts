import { z } from 'zod';
import { shuffle } from '../random.js';
import { popularityOptions, type Generator, type GeneratorSetting, type LayerDraw } from './generator.js';
import { popularityDraw } from './popularity-draw.js';

const options = z.strictObject({
  kind: z.literal('hot-experts'),
  share: z
    .number()
    .min(0)
    .max(1)
    .describe('Share of the copies (llep: of the tokens) that the hot experts get.'),
  experts: z.int().min(1).describe('Number of hot experts.'),
  pattern: z
    .enum(['llep', 'distinct'])
    .default('llep')
    .describe(
      "llep: the LLEP paper's generator, which may repeat an expert in a token; distinct: as a router does.",
    ),
  ...popularityOptions,
  permute: z
    .boolean()
    .optional()
    .describe(
      'Hot experts are anywhere; false: the first ids, so that GPU 0 is hot. Default: false for llep.',
    ),
});

type Options = z.infer<typeof options>;

/** A few experts get a given share of the load. */
export const hotExperts: Generator<Options> = {
  kind: 'hot-experts',
  summary: 'a few experts get a given share of the load',
  options,
  notes: ({ share, experts, pattern }, { topK }) => {
    if (pattern === 'llep') {
      return experts < topK
        ? [
            `hot-experts, pattern llep: a token may repeat an expert (${topK} choices among ${experts} hot), which no ` +
              'top-k router does',
          ]
        : [];
    }
    const limit = experts / topK;
    return share > limit
      ? [
          `hot-experts, pattern distinct: share capped at experts/topK = ${limit}, since a token picks an expert once`,
        ]
      : [];
  },
  prepare(chosen, setting) {
    const { experts: hot, share, pattern } = chosen;
    const { experts, topK } = setting;
    if (hot >= experts) {
      throw new RangeError(`found ${hot} hot experts, allowed: fewer than the model's ${experts}`);
    }
    if (pattern === 'llep') return llepDraw(chosen, setting);
    const capped = Math.min(share, hot / topK);
    return popularityDraw(setting, chosen.permute ?? true, (popularity) => {
      popularity.fill((1 - capped) / (experts - hot)).fill(capped / hot, 0, hot);
    });
  },
};

/**
 * The generator of the LLEP paper's tests (SalesforceAIResearch/LeastLoadedEP @ 0349746, test_llep.py): on
 * every GPU the first ⌊tokens · share⌋ tokens send choice j to hot expert j mod hot, and choice j of any
 * other token i goes to cold expert (i + j) mod (experts − hot). With hot > topK only topK hot experts are
 * used.
 */
function llepDraw(
  { share, experts: hot, permute = false }: Options,
  { gpus, tokensPerGpu, experts, topK }: GeneratorSetting,
): LayerDraw {
  const ids = new Int32Array(experts);
  return {
    constant: !permute,
    redraw(random) {
      for (let e = 0; e < experts; e++) ids[e] = e;
      if (permute) shuffle(ids, random);
    },
    counts: null,
    tokens(_, into) {
      const hotTokens = Math.floor(tokensPerGpu * share);
      for (let token = 0; token < gpus * tokensPerGpu; token++) {
        const i = token % tokensPerGpu;
        for (let j = 0; j < topK; j++) {
          into[token * topK + j] = ids[i < hotTokens ? j % hot : hot + ((i + j) % (experts - hot))];
        }
      }
    },
  };
}
