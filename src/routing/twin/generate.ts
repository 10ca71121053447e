import { inclusionProbabilities, systematic, TOKENS_PER_ORDER } from '../inclusion.js';
import { randomStream, shuffle, type Random } from '../random.js';
import { rowsInMemory } from '../trace/token-rows.js';
import type { TokenTrace } from '../trace/trace.js';
import { deviationsOf } from './deviations.js';
import { decodePicks, LAGS, type Twin } from './twin.js';

/** Picks that a generated trace may hold. */
const MOST_PICKS = 2 ** 30;

/** What to draw of a twin: at least so many tokens, and sequences. */
export interface TwinDraw {
  /** Indices of the twin's layers. */
  layers: readonly number[];
  tokens: number;
  sequences?: number;
  seed: number | string;
}

/**
 * A trace of whole sequences that the twin draws.
 * @throws RangeError where the twin contradicts itself, or the trace would be too large
 */
export function twinTrace(twin: Twin, { layers, tokens, sequences = 0, seed }: TwinDraw): TokenTrace {
  const { experts, topK, layerIds, domains } = twin;
  checkTwin(twin);
  const perToken = layers.length * topK;
  if (tokens * perToken > MOST_PICKS) {
    throw new RangeError(
      `steps: found ${tokens} tokens of ${perToken} picks to draw, allowed: ${Math.floor(MOST_PICKS / perToken)} tokens; fewer steps, or one layer`,
    );
  }
  const order = profileOrder(twin, tokens, sequences, randomStream(seed, 'twin/sequences'));
  const starts = new Int32Array(order.length + 1);
  order.forEach((profile, i) => (starts[i + 1] = starts[i] + twin.profiles[profile].tokens));
  const drawn = starts[order.length];
  const picks = experts > 256 ? new Uint16Array(drawn * perToken) : new Uint8Array(drawn * perToken);
  const probabilities = profilesOf(twin);
  const opening = twin.opening.map((text) =>
    normalised(decodePicks(text, twin.layerIds.length * experts), twin),
  );
  const effects = positionEffects(twin);
  layers.forEach((layer, at) => {
    const random = randomStream(seed, `twin/${layerIds[layer]}`);
    const first = layer * experts;
    const ofLayer = (all: Float64Array) => all.subarray(first, first + experts);
    const draw = new LayerDraw(
      twin,
      layer,
      opening.map(ofLayer),
      new LayerPositions(effects, probabilities.map(ofLayer), layer, twin),
      random,
    );
    for (let sequence = 0; sequence < order.length; sequence++) {
      draw.sequence(
        ofLayer(probabilities[order[sequence]]),
        starts[sequence + 1] - starts[sequence],
        picks,
        starts[sequence] * perToken + at * topK,
        perToken,
      );
    }
  });
  return {
    kind: 'tokens',
    header: {
      schema: 'epsim/trace@1',
      kind: 'tokens',
      model: twin.model,
      experts,
      topK,
      layerIds: layers.map((layer) => layerIds[layer]),
      phase: twin.phase,
      domains,
      source: `twin of ${twin.source}`,
      licence: twin.licence,
      notes: [
        `routing of a twin: generated from parameters that were fitted to ${twin.tokens} recorded tokens of ${twin.model}`,
      ],
    },
    tokens: drawn,
    rows: rowsInMemory(drawn, picks, null),
    sequenceStarts: starts,
    sequenceDomains: domains
      ? Uint16Array.from(order, (profile) => twin.profiles[profile].domain ?? 0)
      : null,
    batches: null,
    phase: null,
    padding: null,
  };
}

function checkTwin({ layerIds, experts, topK, popularity, memory, profiles, domains }: Twin): void {
  const layers = layerIds.length;
  const refuse = (path: string, found: string, allowed: string): never => {
    throw new RangeError(`${path}: found ${found}, allowed: ${allowed}`);
  };
  if (topK > experts) refuse('topK', String(topK), `at most experts = ${experts}`);
  if (popularity.length !== layers || popularity.some((row) => row.length !== experts))
    refuse('popularity', 'another shape', `${layers} layers × ${experts} experts`);
  if (memory.length !== layers || memory.some((row) => row.length !== LAGS.length))
    refuse('memory', 'another shape', `${layers} layers × ${LAGS.length} lags`);
  const heavy = memory.findIndex((row) => row.reduce((sum, weight) => sum + weight, 0) >= 1);
  if (heavy >= 0) refuse(`memory[${heavy}]`, 'weights that sum to 1 or more', 'less than 1 in all');
  profiles.forEach(({ domain }, i) => {
    if (domain !== undefined && domain >= (domains?.length ?? 0))
      refuse(`profiles[${i}].domain`, String(domain), 'the index of one of domains');
  });
}

/** Profiles in runs as recorded, each run from a random one on: the stationary bootstrap (Politis and Romano, 1994). */
function profileOrder(
  { profiles, run }: Twin,
  tokens: number,
  sequences: number,
  random: Random,
): Int32Array {
  const order: number[] = [];
  let profile = 0;
  for (let drawn = 0; drawn < tokens || order.length < sequences; drawn += profiles[profile].tokens) {
    const jumps = order.length === 0 || random() * run < 1;
    profile = jumps ? Math.floor(random() * profiles.length) : (profile + 1) % profiles.length;
    order.push(profile);
  }
  return Int32Array.from(order);
}

/** Probabilities of every profile, [layer · experts + expert], shifted so that their mean is the popularity. */
function profilesOf({ profiles, popularity, experts, topK }: Twin): Float64Array[] {
  const target = Float64Array.from(popularity.flat());
  const decoded = profiles.map(({ picks }) => decodePicks(picks, target.length));
  const tokens = profiles.reduce((sum, profile) => sum + profile.tokens, 0);
  const mean = new Float64Array(target.length);
  decoded.forEach((own, p) => own.forEach((value, i) => (mean[i] += (value * profiles[p].tokens) / tokens)));
  for (const own of decoded) {
    for (let i = 0; i < own.length; i++) own[i] = Math.max(0, own[i] + target[i] - mean[i]);
    normalised(own, { experts, topK });
  }
  return decoded;
}

/** What positions after the opening change of the probabilities, [layer · experts + expert]. */
interface PositionEffects {
  /** By position; undefined where sequences are not alike. */
  own: (Float64Array | undefined)[];
  elsewhere: Float64Array;
}

function positionEffects({ alike, popularity }: Twin): PositionEffects {
  const all = Float64Array.from(popularity.flat());
  const decoded = alike.map(({ share, picks }) => ({ share, probabilities: decodePicks(picks, all.length) }));
  const { own, elsewhere } = deviationsOf(decoded, all);
  const effects: PositionEffects = { own: [], elsewhere };
  alike.forEach(({ position }, i) => (effects.own[position] = own[i]));
  return effects;
}

/** Rounds in which a mean over profiles comes to what it should be. */
const SETTLING_ROUNDS = 4;

/** A profile's probabilities in one layer, position after position. */
class LayerPositions {
  /** By position: the effect, and how much of a profile's distance from the popularity is left beside it. */
  private readonly effects: ({ deviation: Float64Array; left: number } | undefined)[];
  private readonly popularity: readonly number[];
  private readonly elsewhere: Float64Array;
  private readonly topK: number;

  /** @param profiles of this layer */
  constructor(
    { own, elsewhere }: PositionEffects,
    profiles: readonly Float64Array[],
    layer: number,
    { popularity, experts, topK, profiles: sequences }: Twin,
  ) {
    this.topK = topK;
    this.popularity = popularity[layer];
    const weights = sequences.map(({ tokens }) => tokens);
    const ofLayer = (all: Float64Array) => all.subarray(layer * experts, (layer + 1) * experts);
    this.elsewhere = this.settled(ofLayer(elsewhere), 1, profiles, weights);
    const anywhere = this.popularity.reduce((sum, p) => sum + p * p, 0);
    this.effects = own.map((all) => {
      if (all === undefined) return undefined;
      const deviation = ofLayer(all);
      const here = this.popularity.reduce((sum, p, e) => sum + (p + deviation[e]) ** 2, 0);
      // Where all sequences pick the same, nothing of them is left; where they pick as anywhere, all is.
      const left = anywhere >= topK ? 1 : Math.min(1, Math.max(0, (topK - here) / (topK - anywhere)));
      return { deviation: this.settled(deviation, left, profiles, weights), left };
    });
  }

  /**
   * The deviation that gives the mean over profiles that is wanted: probabilities below 0 or above 1, of a profile and
   * a position that lie apart, are cut off, which moves the mean.
   */
  private settled(
    wanted: Float64Array,
    left: number,
    profiles: readonly Float64Array[],
    weights: readonly number[],
  ): Float64Array {
    const deviation = wanted.slice();
    if (wanted.every((d) => d === 0)) return deviation;
    const all = weights.reduce((sum, weight) => sum + weight, 0);
    for (let round = 0; round < SETTLING_ROUNDS; round++) {
      const mean = new Float64Array(wanted.length);
      profiles.forEach((profile, i) => {
        this.shifted(profile, deviation, left).forEach((p, e) => (mean[e] += (p * weights[i]) / all));
      });
      for (let e = 0; e < mean.length; e++) deviation[e] += this.popularity[e] + wanted[e] - mean[e];
    }
    return deviation;
  }

  /** Where sequences are not alike. */
  usual(profile: Float64Array): Float64Array {
    return this.shifted(profile, this.elsewhere, 1);
  }

  /** At a position; null where sequences are not alike there. */
  at(position: number, profile: Float64Array): Float64Array | null {
    const effect = this.effects[position];
    return effect === undefined ? null : this.shifted(profile, effect.deviation, effect.left);
  }

  private shifted(profile: Float64Array, deviation: Float64Array, left: number): Float64Array {
    const { popularity, topK } = this;
    return inclusionProbabilities(
      profile.map((p, e) => Math.max(0, popularity[e] + left * (p - popularity[e]) + deviation[e])),
      topK,
    );
  }
}

/** Makes every layer's probabilities sum to topK, in place. */
function normalised(
  probabilities: Float64Array,
  { experts, topK }: Pick<Twin, 'experts' | 'topK'>,
): Float64Array {
  for (let first = 0; first < probabilities.length; first += experts) {
    const layer = probabilities.subarray(first, first + experts);
    layer.set(inclusionProbabilities(layer, topK));
  }
  return probabilities;
}

/** Draws one layer of sequences, token after token. */
class LayerDraw {
  private readonly memory: readonly number[];
  private readonly order: Int32Array;
  private readonly inclusion: Float64Array;
  private readonly topK: number;
  private drawn = 0;

  constructor(
    { experts, topK, memory }: Twin,
    layer: number,
    private readonly opening: readonly Float64Array[],
    private readonly positions: LayerPositions,
    private readonly random: Random,
  ) {
    this.memory = memory[layer];
    this.topK = topK;
    this.order = Int32Array.from({ length: experts }, (_, e) => e);
    this.inclusion = new Float64Array(experts);
  }

  /** @param at place of the first pick; the next token's are `stride` further */
  sequence(
    profile: Float64Array,
    tokens: number,
    into: Uint8Array | Uint16Array,
    at: number,
    stride: number,
  ): void {
    const { topK, inclusion, memory, random, order, opening, positions } = this;
    const chosen = new Uint16Array(topK);
    const usual = positions.usual(profile);
    for (let token = 0; token < tokens; token++) {
      if (this.drawn++ % TOKENS_PER_ORDER === 0) shuffle(order, random);
      // Memory begins after the opening, whose tokens say themselves what follows.
      const past = token - opening.length;
      const base = past < 0 ? opening[token] : (positions.at(past, profile) ?? usual);
      let own = 1;
      for (let j = 0; j < LAGS.length && LAGS[j] <= past; j++) own -= memory[j];
      for (let e = 0; e < inclusion.length; e++) inclusion[e] = own * base[e];
      for (let j = 0; j < LAGS.length && LAGS[j] <= past; j++) {
        const before = at + (token - LAGS[j]) * stride;
        for (let k = 0; k < topK; k++) inclusion[into[before + k]] += memory[j];
      }
      systematic(inclusion, order, topK, random(), chosen, 0);
      into.set(chosen, at + token * stride);
    }
  }
}
