import { drawCounts, inclusionProbabilities, TokenDraw } from '../inclusion.js';
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
  const row = new Int32Array(experts);
  return {
    constant: false,
    counts(source, draw, into) {
      drawCounts(tokensPerGpu, topK, inclusion, draw, row);
      into.set(row, source * experts);
    },
    tokens(draw, into) {
      const token = new TokenDraw(inclusion, topK, routerGroups, topGroups, draw);
      for (let t = 0; t < gpus * tokensPerGpu; t++) token.draw(into, t * topK);
    },
  };
}
