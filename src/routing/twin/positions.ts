import type { TokenTrace } from '../trace/trace.js';

/** Positions of sequences that are looked at, sequences that it takes to call one alike, and by how much. */
const MOST_POSITIONS = 256;
const FEWEST_SEQUENCES = 10;
const ALIKE = 1.25;
/** Share of what two tokens at a position could have in common, beyond any two, from which on the position says it all. */
const SETTLED = 0.5;

/** A position after the opening at which sequences are alike. */
export interface AlikePosition {
  /** Tokens after the opening that come before it. */
  position: number;
  /** Share of the tokens after the opening. */
  share: number;
  /** [layer · experts + expert] */
  probabilities: Float64Array;
}

/** What sequences pick at each of their first positions. */
export class Positions {
  private readonly counts: Float64Array[];
  /** Sequences that reach every position; at the last one, tokens of all positions beyond. */
  private readonly seen = new Float64Array(MOST_POSITIONS + 1);
  private readonly total: Float64Array;
  private tokens = 0;

  private constructor(
    private readonly layers: number,
    private readonly experts: number,
    private readonly topK: number,
  ) {
    const size = layers * experts;
    this.counts = Array.from({ length: MOST_POSITIONS }, () => new Float64Array(size));
    this.total = new Float64Array(size);
  }

  /** Counts a recording; null where its sequences are not known. */
  static of(trace: TokenTrace, isUsed: (sequence: number) => boolean): Positions | null {
    const { header, rows, padding, sequenceStarts } = trace;
    if (sequenceStarts === null) return null;
    const { experts, topK, layerIds } = header;
    const positions = new Positions(layerIds.length, experts, topK);
    const perToken = layerIds.length * topK;
    for (let sequence = 0; sequence + 1 < sequenceStarts.length; sequence++) {
      if (!isUsed(sequence)) continue;
      let position = 0;
      for (let token = sequenceStarts[sequence]; token < sequenceStarts[sequence + 1]; token++) {
        if (padding?.[token] === 1) continue;
        const picks = rows.block(Math.floor(token / rows.blockTokens)).experts;
        positions.add(position++, picks, (token % rows.blockTokens) * perToken);
      }
    }
    return positions;
  }

  /**
   * Probabilities at the first positions, as long as sequences begin with the same tokens, or nearly so: with a
   * template, most often.
   */
  opening(): Float64Array[] {
    const anywhere = squares(this.total.map((count) => count / this.tokens));
    let length = 0;
    while (length < MOST_POSITIONS && this.seen[length] >= FEWEST_SEQUENCES) {
      const settled = (this.sharedAt(length) - anywhere) / (this.layers * this.topK - anywhere);
      if (settled < SETTLED) break;
      length++;
    }
    return this.counts
      .slice(0, length)
      .map((own, position) => own.map((count) => count / this.seen[position]));
  }

  /**
   * Later positions at which two sequences share more picks than two tokens do anywhere.
   * @param popularity of the tokens after the opening, [layer · experts + expert]
   * @param tokens how many they are
   */
  alike(opening: number, popularity: Float64Array, tokens: number): AlikePosition[] {
    const anywhere = squares(popularity);
    const found: AlikePosition[] = [];
    for (let position = opening; position < MOST_POSITIONS; position++) {
      const seen = this.seen[position];
      if (seen < FEWEST_SEQUENCES) break;
      if (this.sharedAt(position) < ALIKE * anywhere) continue;
      found.push({
        position: position - opening,
        share: seen / tokens,
        probabilities: this.probabilitiesAt(position, popularity),
      });
    }
    return found;
  }

  /** Tokens at every position after the opening; at the last one, those beyond. */
  seenFrom(opening: number): Float64Array {
    return this.seen.slice(opening);
  }

  private add(position: number, picks: ArrayLike<number>, at: number): void {
    const { layers, topK, experts } = this;
    const own = position < MOST_POSITIONS ? this.counts[position] : null;
    this.seen[Math.min(position, MOST_POSITIONS)]++;
    this.tokens++;
    for (let i = 0; i < layers * topK; i++) {
      const place = Math.floor(i / topK) * experts + picks[at + i];
      this.total[place]++;
      if (own) own[place]++;
    }
  }

  /** Picks that two sequences share at a position on average, in all layers. */
  private sharedAt(position: number): number {
    return this.sharedIn(position, 0, this.total.length);
  }

  private sharedIn(position: number, from: number, to: number): number {
    const pairs = this.seen[position] * (this.seen[position] - 1);
    let sum = 0;
    for (let i = from; i < to; i++) sum += this.counts[position][i] * (this.counts[position][i] - 1);
    return sum / pairs;
  }

  /**
   * The shares of a position, moved to the popularity so far that they scatter as the probabilities behind them do:
   * of few sequences, shares scatter by chance as well.
   */
  private probabilitiesAt(position: number, popularity: Float64Array): Float64Array {
    const { counts, seen, experts } = this;
    const shares = counts[position].map((count) => count / seen[position]);
    for (let first = 0; first < shares.length; first += experts) {
      const end = first + experts;
      let [measured, product, all] = [0, 0, 0];
      for (let i = first; i < end; i++) {
        measured += shares[i] ** 2;
        product += shares[i] * popularity[i];
        all += popularity[i] ** 2;
      }
      const apart = measured - 2 * product + all;
      const truly = this.sharedIn(position, first, end) - 2 * product + all;
      const kept = apart <= 0 ? 0 : Math.sqrt(Math.min(1, Math.max(0, truly / apart)));
      for (let i = first; i < end; i++) shares[i] = popularity[i] + kept * (shares[i] - popularity[i]);
    }
    return shares;
  }
}

function squares(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value * value, 0);
}
