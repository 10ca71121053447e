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
    const { order, count } = this;
    order.sort((a, b) => scores[b] - scores[a] || a - b);
    for (let rank = 0; rank < count; rank++) {
      this.experts[token * count + rank] = order[rank];
      this.scores[token * count + rank] = scores[order[rank]];
    }
  }
}
