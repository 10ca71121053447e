import { CountDraw, inclusionProbabilities, TokenDraw } from '../inclusion.js';
import { shuffle, type Random } from '../random.js';
import { allTokens, tokensOf, type GeneratorSetting, type LayerDraw } from './generator.js';

/** Mean copies per expert and source below which tokens are drawn one by one even where only counts are asked for. */
const SMALL_COUNT = 4;

/**
 * A layer whose tokens pick different experts with shares that follow a popularity.
 * @param permute whether the experts are shuffled after each draw of popularity
 * @param draw writes the popularity of a step, most popular experts first where the order means anything
 */
export function popularityDraw(
  setting: GeneratorSetting,
  permute: boolean,
  draw: (popularity: Float64Array, random: Random, step: number) => void,
): LayerDraw {
  const { experts, topK, tokensPerGpu, routerGroups, topGroups } = setting;
  const all = allTokens(setting);
  const popularity = new Float64Array(experts).fill(1);
  const inclusion = inclusionProbabilities(popularity, topK);
  const tokenDraw = new TokenDraw(inclusion, topK, routerGroups, topGroups);
  const countDraw = new CountDraw(inclusion, topK);
  // Limited groups shift the mean loads and tie the counts of a group's experts; a count draw knows neither.
  const isLimited = routerGroups > 1 && topGroups < routerGroups;
  const byToken = isLimited || (tokensPerGpu * topK) / experts < SMALL_COUNT;
  const row = new Int32Array(experts);
  const picks = new Uint16Array(topK);
  return {
    constant: false,
    redraw(random, step) {
      draw(popularity, random, step);
      if (permute) shuffle(popularity, random);
      inclusionProbabilities(popularity, topK, inclusion);
      countDraw.reset();
    },
    counts(source, random, into) {
      const tokens = tokensOf(setting, source);
      if (byToken) {
        row.fill(0);
        tokenDraw.reset(random);
        for (let t = 0; t < tokens; t++) {
          tokenDraw.draw(picks, 0);
          for (let j = 0; j < topK; j++) row[picks[j]]++;
        }
      } else {
        countDraw.draw(tokens, random, row);
      }
      into.set(row, source * experts);
    },
    tokens(random, into) {
      tokenDraw.reset(random);
      for (let t = 0; t < all; t++) tokenDraw.draw(into, t * topK);
    },
  };
}
