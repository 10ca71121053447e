import { NO_EXPERT, randomStream, shuffle, type TokenTable } from '../../routing/index.js';
import type { Placement } from '../placement.js';
import type { Drop } from '../plan.js';
import { kthSmallest } from './kth-smallest.js';

/** What the capacity counts over: copies of one expert from one source GPU, of one expert, or of one GPU. */
export const budgets = ['expert-per-source-gpu', 'expert', 'gpu'] as const;
/** Who is kept first. */
export const orders = ['position', 'score', 'batch-prioritised', 'random'] as const;

export interface CapacityRule {
  /** Capacity as a multiple of the mean. */
  factor: number;
  budget: (typeof budgets)[number];
  order: (typeof orders)[number];
  /** Fill every expert up to its capacity with empty rows. */
  pad: boolean;
  /** Capacity is rounded up to a multiple of this. */
  roundUpTo: number;
}

/** Orders that compare gate weights. */
export function needsScores(order: CapacityRule['order']): boolean {
  return order === 'score' || order === 'batch-prioritised';
}

/** What a batch brings to a drop. */
export interface DropInput {
  placement: Placement;
  /** Copies, [source · experts + expert]. */
  counts: Int32Array;
  tokensBySource: Int32Array | null;
  tokens: TokenTable | null;
  /** Names the draws of order `random`. */
  seed: string;
}

/**
 * Capacity of every group of copies, C = ⌈mean · factor⌉ rounded up (`gpu`: ⌊…⌋, DeepSeek-V2 §2.2.4): by
 * source and expert, by expert, or by GPU.
 */
function capacities(rule: CapacityRule, { placement, counts }: DropInput): Float64Array {
  const { gpus, experts } = placement;
  const { factor } = rule;
  const rounded = (capacity: number) => Math.ceil(capacity / rule.roundUpTo) * rule.roundUpTo;
  const bySource = new Float64Array(gpus);
  let total = 0;
  for (let source = 0, cell = 0; source < gpus; source++) {
    for (const end = cell + experts; cell < end; cell++) bySource[source] += counts[cell];
    total += bySource[source];
  }
  if (rule.budget === 'gpu') return new Float64Array(gpus).fill(rounded(Math.floor((total / gpus) * factor)));
  if (rule.budget === 'expert') {
    return new Float64Array(experts).fill(rounded(Math.ceil((total / experts) * factor)));
  }
  const limits = new Float64Array(gpus * experts);
  for (let source = 0; source < gpus; source++) {
    const limit = rounded(Math.ceil((bySource[source] / experts) * factor));
    limits.fill(limit, source * experts, (source + 1) * experts);
  }
  return limits;
}

/** The group whose capacity a copy counts against is source · perSource + ofExpert[expert]. */
interface Groups {
  perSource: number;
  ofExpert: Int32Array;
}

function groupsOf({ budget }: CapacityRule, { placement }: DropInput): Groups {
  const { experts, home } = placement;
  if (budget === 'gpu') return { perSource: 0, ofExpert: home };
  const ofExpert = Int32Array.from({ length: experts }, (_, expert) => expert);
  return { perSource: budget === 'expert' ? 0 : experts, ofExpert };
}

/**
 * Keeps the first copies of every group up to its capacity. With a token table the order is exact; with
 * counts only, copies have no positions: `position` then keeps sources in order (and the experts of the
 * source at the edge in proportion), `random` draws without replacement.
 *
 * Sources: Megatron-LM @ d98e8a64 (per source GPU, `score`, padding), DeepSpeed, Tutel, V-MoE
 * (`batch-prioritised`), DeepSeek-V2 (`gpu`).
 */
export function capacityDrop(rule: CapacityRule, input: DropInput): Drop {
  const { tokens } = input;
  const limits = capacities(rule, input);
  const drop: Drop = tokens
    ? keepTokens(rule, input, tokens, limits)
    : { ...NOTHING_MORE, kept: keepCounts(rule, input, limits) };
  if (rule.pad) addPadding(drop, rule, input, limits);
  return drop;
}

const NOTHING_MORE = { sent: null, rows: null, keptCopies: null, tokensLost: null, keptGateMass: null };

function keepTokens(rule: CapacityRule, input: DropInput, tokens: TokenTable, limits: Float64Array): Drop {
  const groups = groupsOf(rule, input);
  const keptCopies =
    rule.order === 'position'
      ? keepByPosition(groups, tokens, limits)
      : keepInOrder(rule, groups, tokens, limits, input.seed);
  // Whatever the order, of every group as much is kept as there is room.
  const kept =
    rule.budget === 'expert-per-source-gpu'
      ? atMost(limits, input.counts)
      : countKept(tokens, keptCopies, input);
  return { ...NOTHING_MORE, kept, keptCopies, ...tokenLosses(tokens, keptCopies) };
}

/** Taken anew for every batch, it would be most of what a run allocates. */
let scratch = new Int32Array(0);

/**
 * All first choices claim the capacity before all second ones, each in the order of the tokens. What is kept of a group
 * so follows from its copies of every choice: all up to one choice, of which the first few are.
 */
function keepByPosition(
  { perSource, ofExpert }: Groups,
  { count, topK, experts, source }: TokenTable,
  limits: Float64Array,
): Uint8Array {
  // Copies that were pruned are a group of their own, without capacity.
  const pruned = limits.length;
  if (scratch.length < count * topK) scratch = new Int32Array(count * topK);
  const cells = scratch;
  const open = new Int32Array((pruned + 1) * topK);
  for (let token = 0, copy = 0; token < count; token++) {
    const first = source[token] * perSource;
    for (let choice = 0; choice < topK; choice++, copy++) {
      const expert = experts[copy];
      const cell = (expert === NO_EXPERT ? pruned : first + ofExpert[expert]) * topK + choice;
      cells[copy] = cell;
      open[cell]++;
    }
  }
  for (let group = 0, cell = 0; group <= pruned; group++) {
    let left = group < pruned ? limits[group] : 0;
    for (const end = cell + topK; cell < end; cell++) {
      open[cell] = Math.min(open[cell], left);
      left -= open[cell];
    }
  }
  const kept = new Uint8Array(count * topK);
  for (let copy = 0; copy < kept.length; copy++) {
    const left = open[cells[copy]] - 1;
    open[cells[copy]] = left;
    // 1 unless it is negative: which copies are kept no branch predictor guesses.
    kept[copy] = 1 + (left >> 31);
  }
  return kept;
}

function groupsByCopy(
  { perSource, ofExpert }: Groups,
  { count, topK, experts, source }: TokenTable,
  pruned: number,
): Int32Array {
  const groups = new Int32Array(count * topK);
  for (let token = 0, copy = 0; token < count; token++) {
    const first = source[token] * perSource;
    for (let j = 0; j < topK; j++, copy++) {
      groups[copy] = experts[copy] === NO_EXPERT ? pruned : first + ofExpert[experts[copy]];
    }
  }
  return groups;
}

function countKept(
  { count, topK, experts, source }: TokenTable,
  keptCopies: Uint8Array,
  input: DropInput,
): Int32Array {
  const kept = new Int32Array(input.counts.length);
  for (let token = 0, copy = 0; token < count; token++) {
    const row = source[token] * input.placement.experts;
    for (let j = 0; j < topK; j++, copy++) if (keptCopies[copy]) kept[row + experts[copy]]++;
  }
  return kept;
}

/** 1 for every copy (token · topK + choice) that is kept. */
function keepInOrder(
  { order }: CapacityRule,
  ofCopies: Groups,
  tokens: TokenTable,
  capacity: Float64Array,
  seed: string,
): Uint8Array {
  // Copies that were pruned are a group of their own, without capacity.
  const groups = groupsByCopy(ofCopies, tokens, capacity.length);
  const limits = Float64Array.of(...capacity, 0);
  if (order === 'score') return keepBest(groups, tokens.weights!, limits);
  // Copies in random order claim as tokens with one choice each do.
  if (order === 'random') {
    return keepFirst(groups, 1, shuffle(inOrder(groups.length), randomStream(seed, 'drop')), limits);
  }
  return keepFirst(groups, tokens.topK, bestFirst(tokens), limits);
}

/** Keeps copies while their group has capacity: all first choices claim it, in the order of the tokens, before all second ones. */
function keepFirst(groups: Int32Array, topK: number, order: Int32Array, limits: Float64Array): Uint8Array {
  const count = groups.length / topK;
  const used = new Int32Array(limits.length);
  const kept = new Uint8Array(groups.length);
  for (let choice = 0; choice < topK; choice++) {
    for (let i = 0; i < count; i++) {
      const copy = order[i] * topK + choice;
      const group = groups[copy];
      if (used[group] >= limits[group]) continue;
      used[group]++;
      kept[copy] = 1;
    }
  }
  return kept;
}

/** Tokens by their largest gate weight, the first among equals first. */
function bestFirst({ count, topK, weights }: TokenTable): Int32Array {
  const best = new Float32Array(count).fill(-Infinity);
  for (let token = 0; token < count; token++) {
    for (let copy = token * topK; copy < (token + 1) * topK; copy++) {
      if (weights![copy] > best[token]) best[token] = weights![copy];
    }
  }
  return inOrder(count).sort((a, b) => best[b] - best[a] || a - b);
}

function inOrder(count: number): Int32Array {
  const order = new Int32Array(count);
  for (let i = 0; i < count; i++) order[i] = i;
  return order;
}

/** Keeps the copies with the largest gate weights of every group, the first among equals. */
function keepBest(groups: Int32Array, weights: Float32Array, limits: Float64Array): Uint8Array {
  const kept = new Uint8Array(groups.length).fill(1);
  const { members, first, over } = membersOfFull(groups, limits);
  const scratch = new Float32Array(members.length);
  for (let i = 0; i < members.length; i++) scratch[i] = weights[members[i]];
  for (let group = 0; group < over.length; group++) {
    if (over[group] === 0) continue;
    const [from, to] = [first[group], first[group + 1]];
    // The largest weight that is not safe, and how many copies of just that weight must go: the last ones.
    const edge = kthSmallest(scratch, from, to, over[group] - 1);
    let atEdge = over[group];
    for (let i = from; i < to; i++) if (weights[members[i]] < edge) atEdge--;
    for (let i = to - 1; i >= from; i--) {
      const weight = weights[members[i]];
      if (weight < edge || (weight === edge && atEdge-- > 0)) kept[members[i]] = 0;
    }
  }
  return kept;
}

/**
 * Copies of the groups that have more than their limit, group by group, in order within each; `first` has the place of
 * every group's first, and the end, `over` how many each has too many.
 */
function membersOfFull(
  groups: Int32Array,
  limits: Float64Array,
): { members: Int32Array; first: Int32Array; over: Int32Array } {
  const loads = new Int32Array(limits.length);
  for (let copy = 0; copy < groups.length; copy++) loads[groups[copy]]++;
  const over = Int32Array.from(loads, (load, group) => Math.max(0, load - Math.floor(limits[group])));
  const first = new Int32Array(limits.length + 1);
  for (let group = 0; group < limits.length; group++) {
    first[group + 1] = first[group] + (over[group] > 0 ? loads[group] : 0);
  }
  const next = first.slice(0, limits.length);
  const members = new Int32Array(first[limits.length]);
  for (let copy = 0; copy < groups.length; copy++) {
    const group = groups[copy];
    if (over[group] > 0) members[next[group]++] = copy;
  }
  return { members, first, over };
}

function atMost(limits: Float64Array, counts: Int32Array): Int32Array {
  const kept = Int32Array.from(counts);
  for (let cell = 0; cell < kept.length; cell++) if (kept[cell] > limits[cell]) kept[cell] = limits[cell];
  return kept;
}

function keepCounts(rule: CapacityRule, input: DropInput, limits: Float64Array): Int32Array {
  const { counts, placement } = input;
  if (rule.budget === 'expert-per-source-gpu') return atMost(limits, counts);
  const kept = Int32Array.from(counts);
  const { gpus, experts } = placement;
  const { ofExpert } = groupsOf(rule, input);
  const loads = new Float64Array(limits.length);
  for (let cell = 0; cell < counts.length; cell++) loads[ofExpert[cell % experts]] += counts[cell];
  const random = rule.order === 'random' ? randomStream(input.seed, 'drop') : null;
  for (let group = 0; group < limits.length; group++) {
    if (loads[group] <= limits[group]) continue;
    const members = Int32Array.from(ofExpert.keys()).filter((expert) => ofExpert[expert] === group);
    const draw = random === null ? null : new Draw(loads[group], limits[group], random);
    let open = limits[group];
    for (let source = 0; source < gpus; source++) {
      const row = source * experts;
      if (draw) for (const expert of members) kept[row + expert] = draw.take(counts[row + expert]);
      else open -= keepInProportion(members, counts, row, open, kept);
    }
  }
  return kept;
}

/** Draws without replacement, portion by portion, which of `load` copies are among the `limit` kept ones. */
class Draw {
  constructor(
    private load: number,
    private limit: number,
    private readonly random: () => number,
  ) {}

  /** How many of the next `copies` are kept. */
  take(copies: number): number {
    let own = 0;
    for (; copies > 0; copies--, this.load--) {
      if (this.random() * this.load >= this.limit) continue;
      own++;
      this.limit--;
    }
    return own;
  }
}

/** Keeps at most `open` copies of a source, its experts in proportion; returns how many. */
function keepInProportion(
  members: Int32Array,
  counts: Int32Array,
  row: number,
  open: number,
  kept: Int32Array,
): number {
  let load = 0;
  for (const expert of members) load += counts[row + expert];
  const share = Math.min(open, load);
  // Cumulative rounding, so that the parts sum to the share.
  let before = 0;
  let given = 0;
  for (const expert of members) {
    before += counts[row + expert];
    const upTo = load === 0 ? 0 : Math.floor((share * before) / load);
    kept[row + expert] = upTo - given;
    given = upTo;
  }
  return share;
}

/** Rows sent and computed when every group is filled to its capacity; a capacity above the tokens is none. */
function addPadding(drop: Drop, rule: CapacityRule, input: DropInput, limits: Float64Array): void {
  const { gpus, experts } = input.placement;
  const rows = new Int32Array(experts);
  if (rule.budget === 'expert') {
    for (let expert = 0; expert < experts; expert++) rows[expert] = limits[expert];
  } else {
    const sent = new Int32Array(gpus * experts);
    for (let source = 0; source < gpus; source++) {
      const tokens = input.tokensBySource?.[source] ?? Infinity;
      for (let expert = 0; expert < experts; expert++) {
        const cell = source * experts + expert;
        sent[cell] = limits[cell] > tokens ? drop.kept[cell] : limits[cell];
        rows[expert] += sent[cell];
      }
    }
    drop.sent = sent;
  }
  drop.rows = rows;
}

function tokenLosses(tokens: TokenTable, keptCopies: Uint8Array): Pick<Drop, 'tokensLost' | 'keptGateMass'> {
  const { count, topK, weights } = tokens;
  let tokensLost = 0;
  let mass = 0;
  let keptMass = 0;
  for (let token = 0, copy = 0; token < count; token++) {
    let left = 0;
    for (const end = copy + topK; copy < end; copy++) {
      left += keptCopies[copy];
      if (weights === null) continue;
      mass += weights[copy];
      keptMass += keptCopies[copy] * weights[copy];
    }
    if (left === 0 && hasCopies(tokens, token)) tokensLost++;
  }
  return { tokensLost, keptGateMass: weights && mass > 0 ? keptMass / mass : null };
}

/** Whether not all of a token's copies were pruned. */
function hasCopies({ topK, experts }: TokenTable, token: number): boolean {
  for (let copy = token * topK; copy < (token + 1) * topK; copy++)
    if (experts[copy] !== NO_EXPERT) return true;
  return false;
}
