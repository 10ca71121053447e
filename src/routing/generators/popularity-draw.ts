import { CountDraw, inclusionProbabilities, TokenDraw } from '../inclusion.js';
import { shuffle, type Random } from '../random.js';
import type { GeneratorSetting, LayerDraw } from './generator.js';

/** A layer whose tokens pick different experts with shares that follow `popularity`. */
export function popularityDraw(
  popularity: Float64Array,
  permute: boolean,
  setting: GeneratorSetting,
  random: Random,
): LayerDraw {
  const { gpus, experts, topK, tokensPerGpu, routerGroups, topGroups } = setting;
  if (permute) {
    const order = shuffle(Int32Array.from(popularity.keys()), random);
    popularity = popularity.map((_, e) => popularity[order[e]]);
  }
  const inclusion = inclusionProbabilities(popularity, topK);
  const tokenDraw = (random: Random) => new TokenDraw(inclusion, topK, routerGroups, topGroups, random);
  const isSmall = (tokensPerGpu * topK) / experts < SMALL_COUNT;
  const countDraw = new CountDraw(inclusion, topK);
  const row = new Int32Array(experts);
  const picks = new Uint16Array(topK);
  return {
    constant: false,
    counts(source, draw, into) {
      if (isSmall) {
        row.fill(0);
        const tokens = tokenDraw(draw);
        for (let t = 0; t < tokensPerGpu; t++) {
          tokens.draw(picks, 0);
          for (let j = 0; j < topK; j++) row[picks[j]]++;
        }
      } else {
        countDraw.draw(tokensPerGpu, draw, row);
      }
      into.set(row, source * experts);
    },
    tokens(draw, into) {
      const tokens = tokenDraw(draw);
      for (let t = 0; t < gpus * tokensPerGpu; t++) tokens.draw(into, t * topK);
    },
  };
}

/** Mean copies per expert and source below which tokens are drawn one by one even where only counts are asked for. */
const SMALL_COUNT = 4;
