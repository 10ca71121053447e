import jstat from 'jstat';
import { z } from 'zod';
import { inclusionProbabilities } from '../inclusion.js';
import { popularityOptions, type Generator, type GeneratorSetting } from './generator.js';
import { popularityDraw } from './popularity-draw.js';

/** Load statistics of arXiv 2506.21328 (abstract: means over three base models of 128 experts, top 8). */
const published = {
  'lpr-baseline': { gini: 0.7, minOverMax: 0 },
  'lpr-routed': { gini: 0.035, minOverMax: 0.7 },
} as const;
type Kind = keyof typeof published;

/** Fewest experts that can have these statistics, and the share of the experts that nobody chooses at minOverMax 0. */
const FEWEST_EXPERTS = 16;
const DEAD_SHARE = 0.1;

const optionsOf = <K extends Kind>(kind: K) =>
  z.strictObject({
    kind: z.literal(kind),
    ...popularityOptions,
    redraw: z
      .enum(['run', 'step'])
      .default('run')
      .describe('When experts change places: never, or in every step.'),
  });

/** Expected loads have exactly the published statistics; which expert is how popular is drawn. */
function generator<K extends Kind>(
  kind: K,
  summary: string,
): Generator<z.infer<ReturnType<typeof optionsOf<K>>>> {
  const { gini, minOverMax } = published[kind];
  return {
    kind,
    summary,
    options: optionsOf(kind),
    notes: () => [
      `${kind}: loads with the Gini coefficient ${gini} and least over largest load ${minOverMax} that arXiv 2506.21328 publishes, by construction`,
    ],
    prepare(options, setting) {
      const popularity = calibratedPopularity(setting, gini, minOverMax);
      const { permute } = options as { permute: boolean };
      return popularityDraw(setting, permute, (into) => into.set(popularity));
    },
  };
}

export const lprBaseline = generator(
  'lpr-baseline',
  'the load that LPR is published against: Gini 0.70, a tenth of the experts dead',
);
export const lprRouted = generator(
  'lpr-routed',
  'the load that LPR is published with: Gini 0.035, min/max 0.70',
);

/**
 * Popularity that falls with the expert's number as the quantiles of a log-normal law, its ends set to the ratio
 * asked for (0: the last tenth gets nothing), its spread such that the shares of the copies have the Gini
 * coefficient asked for. exp(σ z) alone has erf(σ / 2): σ = 1.47 for 0.70, 0.062 for 0.035.
 * @throws RangeError where a model has too few experts, or tokens take too many of them, for such a spread
 */
export function calibratedPopularity(
  { experts, topK }: Pick<GeneratorSetting, 'experts' | 'topK'>,
  gini: number,
  minOverMax: number,
): Float64Array {
  if (experts < FEWEST_EXPERTS)
    throw new RangeError(
      `kind: found ${experts} experts, allowed: at least ${FEWEST_EXPERTS} for these statistics`,
    );
  const normal = Float64Array.from({ length: experts }, (_, e) =>
    jstat.normal.inv(1 - (e + 0.5) / experts, 0, 1),
  );
  const popularity = new Float64Array(experts);
  const dead = Math.max(1, Math.round(DEAD_SHARE * experts));
  const set = (sigma: number) => {
    for (let e = 0; e < experts; e++) popularity[e] = Math.exp(sigma * normal[e]);
    if (minOverMax === 0) popularity.fill(0, experts - dead);
    else {
      // What lies between the ends must not reach beyond them.
      const [least, largest] = [Math.sqrt(minOverMax), 1 / Math.sqrt(minOverMax)];
      for (let e = 0; e < experts; e++) popularity[e] = Math.min(largest, Math.max(least, popularity[e]));
      popularity[0] = largest;
      popularity[experts - 1] = least;
    }
    return giniOf(inclusionProbabilities(popularity, topK));
  };
  let [low, high] = [0, 20];
  if (set(low) > gini || set(high) < gini) {
    throw new RangeError(
      `kind: found ${experts} experts, top ${topK}, allowed: a model whose loads can have a Gini coefficient of ${gini}`,
    );
  }
  for (let round = 0; round < 60; round++) {
    const middle = (low + high) / 2;
    if (set(middle) < gini) low = middle;
    else high = middle;
  }
  return popularity;
}

/** Gini coefficient of loads that fall. */
function giniOf(falling: Float64Array): number {
  const { length } = falling;
  let [ranked, total] = [0, 0];
  for (let i = 0; i < length; i++) {
    ranked += (length - 1 - 2 * i) * falling[i];
    total += falling[i];
  }
  return ranked / (length * total);
}
