import { binomial } from './binomial.js';
import { shuffle, type Random } from './random.js';

/**
 * Probability that a token picks each expert, when it picks `topK` different ones and shares of the copies
 * are to follow `popularity`: proportional to it, but at most 1, with the excess given to the others.
 *
 * @param popularity weight per expert, ≥ 0, not all 0
 * @param into where to write; default: a new array
 * @returns probabilities that sum to `topK`
 */
export function inclusionProbabilities(
  popularity: ArrayLike<number>,
  topK: number,
  into: Float64Array = new Float64Array(popularity.length),
): Float64Array {
  const experts = popularity.length;
  into.fill(0);
  for (;;) {
    // An expert with probability 1 is certain: it takes one choice, and the others share the rest.
    let open = topK;
    let uncertain = 0;
    let weight = 0;
    for (let e = 0; e < experts; e++) {
      if (into[e] === 1) open--;
      else {
        uncertain++;
        weight += popularity[e];
      }
    }
    let capped = false;
    for (let e = 0; e < experts; e++) {
      if (into[e] === 1) continue;
      // Where all weight is on experts that are already certain, the rest share alike.
      const probability = weight > 0 ? (open * popularity[e]) / weight : open / uncertain;
      into[e] = Math.min(probability, 1);
      capped ||= probability >= 1;
    }
    if (!capped) return into;
  }
}

/**
 * Draws how many tokens pick each expert, without drawing the tokens. Counts have their binomial means and
 * variances and sum to tokens · topK: expert by expert, a centred binomial draw plus a share of what the
 * experts before have left over or overdrawn. Where counts are small, `TokenDraw` is the exact way.
 *
 * The covariance is that of independent counts with variances c, given their sum; c is chosen so that
 * c − c²/Σc is the variance p(1 − p) of a token's pick.
 */
export class CountDraw {
  private readonly independent: Float64Array;
  /** Sum of `independent`. */
  private variance = 0;

  /** @param inclusion probabilities that sum to `topK`; kept by reference, see `reset` */
  constructor(
    private readonly inclusion: Float64Array,
    private readonly topK: number,
  ) {
    this.independent = new Float64Array(inclusion.length);
    this.reset();
  }

  /** Takes the inclusion probabilities as they are now. */
  reset(): void {
    this.variance = independentVariances(this.inclusion, this.independent);
  }

  /** Writes the counts of `tokens` tokens by expert. */
  draw(tokens: number, random: Random, into: Int32Array): void {
    const { inclusion, independent, topK } = this;
    const experts = inclusion.length;
    let copies = tokens * topK;
    let expected = copies;
    let { variance } = this;
    for (let e = 0; e < experts; e++) {
      const p = inclusion[e];
      const share = variance > 0 ? independent[e] / variance : 0;
      const own = p * (1 - p);
      const scale = own > 0 ? Math.sqrt((independent[e] * Math.max(0, 1 - share)) / own) : 0;
      const deviation = scale * (binomial(tokens, p, random) - tokens * p);
      const wanted = tokens * p + deviation + (copies - expected) * share;
      // Rounded up or down at random, so that small shares are not lost.
      const rounded = Math.floor(wanted + random());
      const left = copies - tokens * (experts - e - 1);
      const count = Math.min(Math.max(rounded, left, 0), copies, tokens);
      into[e] = count;
      copies -= count;
      expected -= tokens * p;
      variance -= independent[e];
    }
  }
}

/** Writes variances of independent counts that, given their sum, have the variances p(1 − p); returns their sum. */
function independentVariances(inclusion: Float64Array, into: Float64Array): number {
  let sum = 0;
  for (let e = 0; e < inclusion.length; e++) sum += into[e] = inclusion[e] * (1 - inclusion[e]);
  for (let round = 0; round < 30 && sum > 0; round++) {
    let next = 0;
    for (let e = 0; e < inclusion.length; e++) {
      const wanted = inclusion[e] * (1 - inclusion[e]);
      // One expert cannot have more than about half of all variance, since the others must make up for it.
      next += into[e] = wanted / (1 - Math.min(into[e] / sum, 0.6));
    }
    if (Math.abs(next - sum) <= 1e-12 * sum) break;
    sum = next;
  }
  return sum;
}

/** Draws the counts of a perfectly uniform router. */
export function uniformDraw(experts: number, topK: number): CountDraw {
  return new CountDraw(new Float64Array(experts).fill(topK / experts), topK);
}

/** Sets of groups whose probabilities are kept; four of eight groups have 70. */
const MOST_SETS = 1024;

/** A set of more is no whole number that a double holds, and hardly comes twice. */
const MOST_GROUPS_OF_SET = 52;

/** Tokens that share one random order of the experts; see `TokenDraw`. */
export const TOKENS_PER_ORDER = 16;

/**
 * Draws the experts of tokens one by one: systematic sampling over a random order of the experts, which
 * gives every expert exactly its inclusion probability and no expert twice. A new order every few tokens
 * keeps pairs of experts (and of groups) nearly independent. With groups, a token first draws `topGroups` of them in
 * proportion to their mass, as a group-limited router does.
 */
export class TokenDraw {
  private readonly experts: number;
  private readonly order: Int32Array;
  private readonly groupOrder: Int32Array;
  private readonly groupMass: Float64Array;
  private readonly groupInclusion: Float64Array;
  private readonly open: Float64Array;
  /** Probabilities given the groups of a token, by the set of them, and for which `reset` they hold. */
  private readonly limited = new Map<number, { probabilities: Float64Array; since: number }>();
  private resets = 0;
  private readonly chosenGroups: Int32Array;
  private random: Random = () => 0;
  private untilReorder = 0;

  /** @param inclusion probabilities that sum to `topK`; kept by reference, see `reset` */
  constructor(
    private readonly inclusion: Float64Array,
    private readonly topK: number,
    private readonly groups: number,
    private readonly topGroups: number,
  ) {
    this.experts = inclusion.length;
    this.order = new Int32Array(this.experts);
    this.groupOrder = Int32Array.from({ length: groups }, (_, group) => group);
    this.open = new Float64Array(this.experts);
    this.chosenGroups = new Int32Array(topGroups);
    this.groupMass = new Float64Array(groups);
    this.groupInclusion = new Float64Array(groups);
  }

  /** Takes the inclusion probabilities as they are now, and starts over with a random stream. */
  reset(random: Random): this {
    const { order, groupOrder, groupMass, inclusion, experts, groups } = this;
    this.random = random;
    this.resets++;
    this.untilReorder = 0;
    for (let group = 0; group < groups; group++) groupOrder[group] = group;
    groupMass.fill(0);
    for (let e = 0; e < experts; e++) {
      order[e] = e;
      groupMass[Math.floor((e * groups) / experts)] += inclusion[e];
    }
    inclusionProbabilities(groupMass, this.topGroups, this.groupInclusion);
    return this;
  }

  /** Writes the experts of one token to `into[at … at + topK)`, in random order. */
  draw(into: Uint16Array, at: number): void {
    if (this.untilReorder-- === 0) {
      shuffle(this.order, this.random);
      if (this.groups > 1) shuffle(this.groupOrder, this.random);
      this.untilReorder = TOKENS_PER_ORDER - 1;
    }
    const probabilities = this.groups === 1 ? this.inclusion : this.limitToGroups();
    systematic(probabilities, this.order, this.topK, this.random(), into, at);
    for (let i = this.topK - 1; i > 0; i--) {
      const j = Math.floor(this.random() * (i + 1));
      const swapped = into[at + i];
      into[at + i] = into[at + j];
      into[at + j] = swapped;
    }
  }

  /**
   * Inclusion probabilities given the groups of this token. A group drawn with probability in proportion
   * to its mass leaves each expert its probability overall, as long as no group's mass exceeds
   * topK / topGroups; beyond that, such a group is always drawn and the others get what is left.
   */
  private limitToGroups(): Float64Array {
    const { groups, topGroups, experts, inclusion, open, chosenGroups, groupInclusion, random } = this;
    systematic(groupInclusion, this.groupOrder, topGroups, random(), chosenGroups, 0);
    const isExact = groups <= MOST_GROUPS_OF_SET;
    let set = 0;
    if (isExact) for (const group of chosenGroups) set += 2 ** group;
    let known = this.limited.get(set);
    if (isExact && known?.since === this.resets) return known.probabilities;
    if (known === undefined) {
      if (this.limited.size >= MOST_SETS) this.limited.clear();
      known = { probabilities: new Float64Array(experts), since: 0 };
      this.limited.set(set, known);
    }
    known.since = this.resets;
    const size = experts / groups;
    open.fill(0);
    for (const group of chosenGroups) {
      for (let e = group * size; e < (group + 1) * size; e++) {
        // An expert of a drawn group stays possible, or a token might have to leave its groups.
        open[e] = Math.max(inclusion[e], 1e-12) / groupInclusion[group];
      }
    }
    return inclusionProbabilities(open, this.topK, known.probabilities);
  }
}

/** Picks `picks` different indices: those under the marks u, u + 1, … on the cumulated probabilities. */
export function systematic(
  probabilities: Float64Array,
  order: Int32Array | null,
  picks: number,
  u: number,
  into: Uint16Array | Int32Array,
  at: number,
): void {
  let cumulated = 0;
  let picked = 0;
  for (let i = 0; i < probabilities.length && picked < picks; i++) {
    const index = order === null ? i : order[i];
    cumulated += probabilities[index];
    if (cumulated > u + picked) into[at + picked++] = index;
  }
  // Rounding may leave the last mark just beyond the sum: it belongs to the last index that is not taken.
  for (let i = probabilities.length - 1; picked < picks; i--) {
    const index = order === null ? i : order[i];
    let taken = probabilities[index] === 0;
    for (let j = 0; j < picked; j++) taken ||= into[at + j] === index;
    if (!taken) into[at + picked++] = index;
  }
}
