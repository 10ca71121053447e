import { z } from 'zod';
import { shuffle, type Random } from '../random.js';
import { popularityOptions, type Generator } from './generator.js';

const { permute: _, ...alwaysPermuted } = popularityOptions;

const options = z.strictObject({
  kind: z.literal('power-law'),
  exponent: z
    .number()
    .min(0)
    .describe('Exponent of the density x^-exponent; public benchmarks use 1.01 and 1.2.'),
  ...alwaysPermuted,
});

/**
 * The skewed loads that public MoE benchmarks are timed with (ai-dynamo/aiconfigurator @ 095f58a,
 * collector/helper.py), without their last step, which moves the busiest GPU to the front.
 */
export const powerLaw: Generator<z.infer<typeof options>> = {
  kind: 'power-law',
  summary: 'loads follow a bounded Pareto density, as in public MoE benchmarks',
  options,
  prepare({ exponent }, { gpus, tokensPerGpu, experts, topK }) {
    const tokens = gpus * tokensPerGpu;
    const columns = new Uint16Array(tokens * topK);
    const order = new Int32Array(tokens);
    return {
      constant: false,
      redraw(random) {
        writeColumns(powerLawLoads({ tokens, experts, topK, gpus, exponent }, random), columns);
      },
      counts: null,
      tokens(random, into) {
        for (let token = 0; token < tokens; token++) order[token] = token;
        shuffle(order, random);
        for (let token = 0; token < tokens; token++) {
          for (let j = 0; j < topK; j++) into[token * topK + j] = columns[order[token] + j * tokens];
        }
      },
    };
  },
};

/** Experts by falling load, each repeated load times: cut into topK columns, no token repeats an expert. */
function writeColumns(loads: Int32Array, into: Uint16Array): void {
  const byLoad = Int32Array.from(loads.keys()).sort((a, b) => loads[b] - loads[a] || a - b);
  let at = 0;
  for (const expert of byLoad) {
    into.fill(expert, at, at + loads[expert]);
    at += loads[expert];
  }
}

/**
 * Copies per expert that sum to tokens · topK, none above `tokens`: one bounded Pareto value per expert,
 * scaled and rounded; what rounding and the cap leave over goes out copy by copy, to each GPU in turn, to
 * the emptiest (or from the fullest) of its experts.
 */
export function powerLawLoads(
  setting: { tokens: number; experts: number; topK: number; gpus: number; exponent: number },
  random: Random,
): Int32Array {
  const { tokens, experts, topK, gpus, exponent } = setting;
  const [low, high] = tokens * topK > experts ? [1, 0.8 * tokens] : [0.01, 2];
  const values = Float64Array.from({ length: experts }, () => boundedPareto(random(), low, high, exponent));
  const scale = (tokens * topK) / values.reduce((sum, value) => sum + value, 0);
  const loads = Int32Array.from(values, (value) => Math.min(Math.round(value * scale), tokens));
  let missing = tokens * topK - loads.reduce((sum, load) => sum + load, 0);
  for (let gpu = 0; missing !== 0; gpu = (gpu + 1) % gpus) {
    const first = Math.ceil((gpu * experts) / gpus);
    const last = Math.ceil(((gpu + 1) * experts) / gpus);
    let pick = -1;
    for (let expert = first; expert < last; expert++) {
      if (missing > 0) {
        if (loads[expert] < tokens && (pick < 0 || loads[expert] < loads[pick])) pick = expert;
      } else if (loads[expert] > 0 && (pick < 0 || loads[expert] > loads[pick])) pick = expert;
    }
    if (pick < 0) continue;
    loads[pick] += Math.sign(missing);
    missing -= Math.sign(missing);
  }
  return loads;
}

/** The u-quantile of the density ∝ x^−exponent on [low, high]. */
function boundedPareto(u: number, low: number, high: number, exponent: number): number {
  if (high <= low) return low;
  const power = 1 - exponent;
  if (Math.abs(power) < 1e-9) return low * Math.pow(high / low, u);
  const a = Math.pow(low, power);
  return Math.pow((Math.pow(high, power) - a) * u + a, 1 / power);
}
