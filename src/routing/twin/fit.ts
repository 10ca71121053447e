import { Matrix, solve } from 'ml-matrix';
import type { CountTrace, TokenTrace, Trace } from '../trace/trace.js';
import { deviationsOf } from './deviations.js';
import { Positions, type AlikePosition } from './positions.js';
import { encodePicks, LAGS, type Twin } from './twin.js';

/** Profiles that a twin may hold; of more sequences, as many are taken at even distances. */
export const MOST_PROFILES = 128;
/** Tokens of a piece where a recording has no sequences. */
const PIECE = 256;
/** Distances in a sequence at which a token no longer follows another, beyond what the sequence has in common. */
const FAR = [24, 32, 40, 48] as const;
const LONGEST = Math.max(...LAGS);
/** Tokens that are compared with those before them, at most. */
const MOST_COMPARED = 200_000;

/** A part of a recording with one profile: a sequence, or a step of counts. */
interface Part {
  tokens: number;
  domain: number | null;
  /** Copies, [layer · experts + expert]. */
  loads: Float64Array;
}

/**
 * The twin of a recording.
 * @param isUsed of a token trace: which sequences to fit to, by number; default: all
 * @throws RangeError where nothing is left to fit to
 */
export function fitTwin(trace: Trace, isUsed: (sequence: number) => boolean = () => true): Twin {
  const { header } = trace;
  const { experts, topK, layerIds } = header;
  const layers = layerIds.length;
  const notes = [...header.notes];
  const positions = trace.kind === 'tokens' ? Positions.of(trace, isUsed) : null;
  const opening = positions?.opening() ?? [];
  const found =
    trace.kind === 'tokens' ? tokenParts(trace, isUsed, opening.length, notes) : countParts(trace, notes);
  const { parts, sequences } = found;
  if (parts.length === 0) throw new RangeError('found no tokens, allowed: a recording with tokens to fit to');
  const tokens = parts.reduce((sum, part) => sum + part.tokens, 0);
  const popularity = new Float64Array(layers * experts);
  for (const { loads } of parts) for (let i = 0; i < loads.length; i++) popularity[i] += loads[i] / tokens;
  const alike = positions?.alike(opening.length, popularity, tokens) ?? [];
  const dependence = found.dependence ?? new Dependence(layers);
  if (positions) dependence.explain(alike, positions.seenFrom(opening.length), experts, popularity);
  const kept = parts.length <= MOST_PROFILES ? parts : evenly(parts);
  if (kept.length < parts.length)
    notes.push(`profiles of ${kept.length} of ${parts.length} sequences are kept`);
  const shares = keptShares(parts, popularity, dependence, experts);
  const profiles = kept.map(({ tokens: length, domain, loads }) => ({
    tokens: length + opening.length,
    ...(domain === null ? {} : { domain }),
    picks: encodePicks(
      popularity.map((p, i) => p + shares[Math.floor(i / experts)] * (loads[i] / length - p)),
    ),
  }));
  return {
    schema: 'epsim/twin@1',
    model: header.model,
    experts,
    topK,
    layerIds: [...layerIds],
    ...(header.phase === undefined ? {} : { phase: header.phase }),
    source: header.source,
    licence: header.licence,
    notes,
    tokens: found.tokens,
    sequences,
    popularity: Array.from({ length: layers }, (_, layer) =>
      Array.from(popularity.subarray(layer * experts, (layer + 1) * experts), (p) => Number(p.toFixed(7))),
    ),
    opening: opening.map(encodePicks),
    alike: alike.map(({ position, share, probabilities }) => ({
      position,
      share: Number(share.toFixed(7)),
      picks: encodePicks(probabilities),
    })),
    memory: Array.from({ length: layers }, (_, layer) => dependence.memory(layer, topK)),
    run: kept.length < 4 ? 1 : runLength(kept, popularity),
    profiles,
    ...(header.domains === undefined ? {} : { domains: header.domains }),
  };
}

interface Found {
  /** Tokens that were looked at, those of openings too. */
  tokens: number;
  parts: Part[];
  sequences: number;
  dependence: Dependence | null;
}

function tokenParts(
  trace: TokenTrace,
  isUsed: (sequence: number) => boolean,
  opening: number,
  notes: string[],
): Found {
  const { header, rows, padding, sequenceDomains, batches } = trace;
  const { experts, topK, layerIds } = header;
  const layers = layerIds.length;
  const perToken = layers * topK;
  const starts = trace.sequenceStarts ?? pieces(trace.tokens);
  if (trace.sequenceStarts === null)
    notes.push(`no sequences in the recording: every ${PIECE} tokens count as one`);
  if (batches) notes.push("the recording's steps and source GPUs are not kept");
  const dependence = new Dependence(layers);
  // The last tokens of the sequence, in a ring.
  const ring = Math.max(...FAR) + 1;
  const recent = new Uint16Array(ring * perToken);
  const parts: Part[] = [];
  let compared = 0;
  let tokens = 0;
  for (let sequence = 0; sequence + 1 < starts.length; sequence++) {
    if (!isUsed(sequence)) continue;
    const loads = new Float64Array(layers * experts);
    let length = 0;
    let skipped = 0;
    for (let token = starts[sequence]; token < starts[sequence + 1]; token++) {
      if (padding?.[token] === 1) continue;
      tokens++;
      if (skipped++ < opening) continue;
      const picks = rows.block(Math.floor(token / rows.blockTokens)).experts;
      const at = (token % rows.blockTokens) * perToken;
      const slot = (length % ring) * perToken;
      for (let i = 0; i < perToken; i++) {
        recent[slot + i] = picks[at + i];
        loads[Math.floor(i / topK) * experts + picks[at + i]]++;
      }
      if (compared++ < MOST_COMPARED) dependence.add(recent, length, ring, layers, topK);
      length++;
    }
    if (length > 0) parts.push({ tokens: length, domain: sequenceDomains?.[sequence] ?? null, loads });
  }
  return { tokens, parts, sequences: trace.sequenceStarts === null ? 0 : parts.length, dependence };
}

function countParts({ header, steps }: CountTrace, notes: string[]): Found {
  const { experts, topK, layerIds } = header;
  notes.push('fitted to counts: how tokens follow each other in a sequence is not known');
  const parts: Part[] = [];
  for (const { layers } of steps) {
    const loads = new Float64Array(layerIds.length * experts);
    let copies = 0;
    layers.forEach((counts, layer) => {
      let own = 0;
      for (let i = 0; i < counts.length; i++) {
        loads[layer * experts + (i % experts)] += counts[i];
        own += counts[i];
      }
      copies += own / layers.length;
    });
    const tokens = Math.round(copies / topK);
    if (tokens > 0) parts.push({ tokens, domain: null, loads });
  }
  return {
    tokens: parts.reduce((sum, part) => sum + part.tokens, 0),
    parts,
    sequences: 0,
    dependence: null,
  };
}

function pieces(tokens: number): Int32Array {
  const count = Math.max(1, Math.floor(tokens / PIECE));
  return Int32Array.from({ length: count + 1 }, (_, i) => (i === count ? tokens : i * PIECE));
}

/** How often tokens at given distances in a sequence pick the same experts, by layer. */
class Dependence {
  /** Shared picks and compared tokens at distances 1 … LONGEST, and (last) at those that are far. */
  private readonly shared: Float64Array[];
  private readonly compared = new Float64Array(LONGEST + 2);
  /** Of the shared picks of two tokens, those that their positions explain, by layer and distance (0: a token with itself). */
  private readonly explained: Float64Array[];

  constructor(layers: number) {
    this.shared = Array.from({ length: layers }, () => new Float64Array(LONGEST + 2));
    this.explained = Array.from({ length: layers }, () => new Float64Array(LONGEST + 2));
  }

  /**
   * Takes note of what tokens have in common because sequences are alike where they stand.
   * @param seen tokens at every position
   */
  explain(
    alike: readonly AlikePosition[],
    seen: Float64Array,
    experts: number,
    popularity: Float64Array,
  ): void {
    if (alike.length === 0) return;
    const apart = deviationsOf(alike, popularity);
    const at = Array.from(seen, () => apart.elsewhere);
    for (const [i, { position }] of alike.entries()) at[position] = apart.own[i];
    this.explained.forEach((explained, layer) => {
      const first = layer * experts;
      const mean = (distance: number) => {
        let [sum, pairs] = [0, 0];
        for (let position = distance; position < seen.length; position++) {
          if (seen[position] === 0) break;
          const [now, before] = [at[position], at[position - distance]];
          let product = 0;
          for (let i = first; i < first + experts; i++) product += now[i] * before[i];
          sum += seen[position] * product;
          pairs += seen[position];
        }
        return pairs === 0 ? 0 : sum / pairs;
      };
      for (let distance = 0; distance <= LONGEST; distance++) explained[distance] = mean(distance);
      explained[LONGEST + 1] = FAR.reduce((sum, distance) => sum + mean(distance), 0) / FAR.length;
    });
  }

  /** @param recent picks of the last tokens in a ring; the newest is token `length` of its sequence */
  add(recent: Uint16Array, length: number, ring: number, layers: number, topK: number): void {
    for (let distance = 1; distance <= LONGEST && distance <= length; distance++) {
      this.compare(recent, length, distance, distance, ring, layers, topK);
    }
    for (const distance of FAR) {
      if (distance <= length) this.compare(recent, length, distance, LONGEST + 1, ring, layers, topK);
    }
  }

  private compare(
    recent: Uint16Array,
    length: number,
    distance: number,
    into: number,
    ring: number,
    layers: number,
    topK: number,
  ): void {
    const perToken = layers * topK;
    const now = (length % ring) * perToken;
    const before = ((length - distance) % ring) * perToken;
    this.compared[into]++;
    for (let layer = 0; layer < layers; layer++) {
      let same = 0;
      for (let i = layer * topK; i < (layer + 1) * topK; i++) {
        const expert = recent[now + i];
        for (let j = layer * topK; j < (layer + 1) * topK; j++) if (recent[before + j] === expert) same++;
      }
      this.shared[layer][into] += same;
    }
  }

  /**
   * Picks that two tokens far apart in a sequence share on average, but for what their positions explain: Σ_e π_e² of
   * a sequence; null where none are.
   */
  common(layer: number): number | null {
    const far = LONGEST + 1;
    if (this.compared[far] === 0) return null;
    return this.shared[layer][far] / this.compared[far] - this.explained[layer][far];
  }

  /** Weights of the lags: the autocovariances of picks, beyond what a sequence has in common, by Yule and Walker. */
  memory(layer: number, topK: number): number[] {
    const common = this.common(layer);
    const none = LAGS.map(() => 0);
    const explained = this.explained[layer];
    if (common === null || topK - common - explained[0] < 1e-9) return none;
    const rho = Array.from({ length: LONGEST + 1 }, (_, distance) =>
      distance === 0
        ? 1
        : this.compared[distance] === 0
          ? 0
          : (this.shared[layer][distance] / this.compared[distance] - common - explained[distance]) /
            (topK - common - explained[0]),
    );
    // Weights must not be negative: those that would be are left out, the worst first.
    let open: number[] = [...LAGS];
    while (open.length > 0) {
      const equations = new Matrix(open.map((a) => open.map((b) => rho[Math.abs(a - b)])));
      const weights = solve(equations, Matrix.columnVector(open.map((lag) => rho[lag])), true).to1DArray();
      const worst = weights.indexOf(Math.min(...weights));
      if (weights[worst] >= 0) {
        const sum = weights.reduce((total, weight) => total + weight, 0);
        const scale = Math.min(1, MOST_MEMORY / sum);
        return LAGS.map((lag) => {
          const at = open.indexOf(lag);
          return at < 0 ? 0 : Number((scale * weights[at]).toFixed(5));
        });
      }
      open = open.filter((_, i) => i !== worst);
    }
    return none;
  }
}

/** Weight of all lags together, at most: some of every choice is the sequence's own. */
const MOST_MEMORY = 0.95;

/**
 * By layer, how far a part's probabilities are kept and not moved to the popularity of all, so that they scatter
 * between parts as the parts truly do: what is measured of a part of few tokens is partly chance.
 */
function keptShares(
  parts: readonly Part[],
  popularity: Float64Array,
  dependence: Dependence,
  experts: number,
): number[] {
  const tokens = parts.reduce((sum, part) => sum + part.tokens, 0);
  return Array.from({ length: popularity.length / experts }, (_, layer) => {
    let [measured, chance, all] = [0, 0, 0];
    for (let i = layer * experts; i < (layer + 1) * experts; i++) {
      const p = popularity[i];
      all += p * p;
      chance += (p * (1 - p) * parts.length) / tokens;
      for (const part of parts) measured += (part.tokens / tokens) * (part.loads[i] / part.tokens - p) ** 2;
    }
    const common = dependence.common(layer);
    // Where nobody knows how tokens follow each other, those of a part count as independent.
    const between = common === null ? measured - chance : common - all;
    return measured <= 0 ? 0 : Math.sqrt(Math.min(1, Math.max(0, between / measured)));
  });
}

function evenly(parts: readonly Part[]): Part[] {
  return Array.from(
    { length: MOST_PROFILES },
    (_, i) => parts[Math.floor((i * parts.length) / MOST_PROFILES)],
  );
}

/**
 * Mean length of runs of profiles in recorded order: twice the first lag from which on neighbours do not resemble each
 * other (the rule of Politis and White, 2004, for the stationary bootstrap); 1 where not even the next one does.
 */
function runLength(parts: readonly Part[], popularity: Float64Array): number {
  const deviations = parts.map(({ loads, tokens }) => loads.map((load, i) => load / tokens - popularity[i]));
  const product = (a: Float64Array, b: Float64Array) => a.reduce((sum, x, i) => sum + x * b[i], 0);
  const variance = deviations.reduce((sum, own) => sum + product(own, own), 0);
  if (variance === 0) return 1;
  const significant = 2 / Math.sqrt(parts.length);
  const most = Math.floor(parts.length / 4);
  let lag = 0;
  for (; lag < most; lag++) {
    let covariance = 0;
    for (let i = 0; i + lag + 1 < parts.length; i++)
      covariance += product(deviations[i], deviations[i + lag + 1]);
    if (covariance / variance < significant) break;
  }
  return Math.max(1, 2 * lag);
}
