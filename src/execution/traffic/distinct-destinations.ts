import type { MoeShape } from '../../model/index.js';

/**
 * Expected number of tokens with a copy in a part of the experts, where only counts are known. A token picks its
 * topK experts without replacement among as many as behave like its source's counts (k²/Σπ², π being the share of
 * the tokens that pick each expert), of which the part holds the share that its copies have: hypergeometric, exact
 * for a uniform router. Of a group-limited router the groups are drawn first in the same way.
 */
export class DistinctDestinations {
  private tokens = 0;
  private experts = 0;

  constructor(private readonly shape: MoeShape) {}

  /**
   * @param counts copies, [source · experts + expert]
   * @param tokens of the source
   * @param uniform all experts alike, whatever the counts
   */
  prepare(counts: Int32Array, source: number, tokens: number, uniform: boolean): void {
    const { experts, topK } = this.shape;
    this.tokens = tokens;
    this.experts = experts;
    if (uniform) return;
    let squares = 0;
    for (let e = source * experts; e < (source + 1) * experts; e++) squares += (counts[e] / tokens) ** 2;
    // A token may repeat an expert in the pattern of the LLEP paper: then a share exceeds 1.
    if (squares > 0) this.experts = Math.max(topK, topK ** 2 / squares);
  }

  /** Expected tokens of the source that send at least one of `copies` copies to a part of the experts. */
  tokensOf(copies: number): number {
    if (copies === 0) return 0;
    const { topK } = this.shape;
    const share = Math.min(1, copies / (this.tokens * topK));
    const some = this.tokens * (1 - this.chanceOfNone(share));
    return Math.min(Math.max(some, copies / topK), copies, this.tokens);
  }

  private chanceOfNone(share: number): number {
    const { topK, routerGroups, topGroups } = this.shape;
    const { experts } = this;
    if (topGroups === routerGroups) return drawNone(experts, share * experts, topK);
    const noGroup = drawNone(routerGroups, share * routerGroups, topGroups);
    if (noGroup === 1) return 1;
    // Of the experts of the groups that a token may use, how many the part holds where it has any of them.
    const open = Math.max(topK, (experts * topGroups) / routerGroups);
    const own = Math.min(1, share / (1 - noGroup));
    return noGroup + (1 - noGroup) * drawNone(open, own * open, topK);
  }
}

/** The chance that `draws` draws without replacement from `all` things miss `own` of them; both need not be whole. */
function drawNone(all: number, own: number, draws: number): number {
  let chance = 1;
  for (let i = 0; i < draws; i++) chance *= Math.max(0, all - own - i) / (all - i);
  return chance;
}
