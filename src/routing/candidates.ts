/** Experts that tokens could use and the gate's score of each, best first. */
export class CandidateTable {
  /** [token · count + rank]. */
  readonly experts: Uint16Array;
  readonly scores: Float32Array;
  private readonly order: number[];

  /** @param count candidates of a token; all experts where scores of all are known */
  constructor(
    readonly tokens: number,
    readonly count: number,
  ) {
    this.experts = new Uint16Array(tokens * count);
    this.scores = new Float32Array(tokens * count);
    this.order = Array.from({ length: count }, (_, expert) => expert);
  }

  /** Takes a token's scores by expert; of equal ones the lower number goes first. */
  rank(token: number, scores: ArrayLike<number>): void {
    this.sort(scores, 0);
    const { order, count } = this;
    for (let rank = 0; rank < count; rank++) {
      this.experts[token * count + rank] = order[rank];
      this.scores[token * count + rank] = scores[order[rank]];
    }
  }

  /** Takes a token's candidates from where they stand in two lists; of equal scores the first goes first. */
  take(token: number, experts: ArrayLike<number>, scores: ArrayLike<number>, from: number): void {
    this.sort(scores, from);
    const { order, count } = this;
    for (let rank = 0; rank < count; rank++) {
      this.experts[token * count + rank] = experts[from + order[rank]];
      this.scores[token * count + rank] = scores[from + order[rank]];
    }
  }

  /** Takes the candidates of a token of another table with as many. */
  copy(token: number, from: CandidateTable, other: number): void {
    const { count } = this;
    const first = other * count;
    this.experts.set(from.experts.subarray(first, first + count), token * count);
    this.scores.set(from.scores.subarray(first, first + count), token * count);
  }

  private sort(scores: ArrayLike<number>, first: number): void {
    this.order.sort((a, b) => scores[first + b] - scores[first + a] || a - b);
  }
}
