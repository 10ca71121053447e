import { NO_EXPERT, randomStream, type TokenTable } from '../../routing/index.js';
import type { Placement } from '../placement.js';
import type { Drop } from '../plan.js';
import type { CopyGroups } from './copy-groups.js';
import { droppedCopies, type Order } from './dropped-copies.js';

/** What the capacity counts over: copies of one expert from one source GPU, of one expert, or of one GPU. */
export const budgets = ['expert-per-source-gpu', 'expert', 'gpu'] as const;

export interface CapacityRule {
  /** Capacity as a multiple of the mean. */
  factor: number;
  budget: (typeof budgets)[number];
  order: Order;
  /** Fill every expert up to its capacity with empty rows. */
  pad: boolean;
  /** Capacity is rounded up to a multiple of this. */
  roundUpTo: number;
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
function groupsOf(
  { budget }: CapacityRule,
  { placement }: DropInput,
): Pick<CopyGroups, 'perSource' | 'ofExpert'> {
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
  const dropped = droppedCopies(rule.order, copyGroups(rule, input, tokens, limits), input.seed);
  // Whatever the order, of every group as much is kept as there is room.
  const kept =
    rule.budget === 'expert-per-source-gpu'
      ? atMost(limits, input.counts)
      : countKept(tokens, dropped, input);
  return { ...NOTHING_MORE, kept, ...lossesOf(tokens, dropped) };
}

function copyGroups(
  rule: CapacityRule,
  input: DropInput,
  tokens: TokenTable,
  limits: Float64Array,
): CopyGroups {
  const { perSource, ofExpert } = groupsOf(rule, input);
  const { experts } = input.placement;
  const { counts } = input;
  const sizes = new Int32Array(limits.length + 1);
  let pruned = tokens.count * tokens.topK;
  for (let row = 0, group = 0; row < counts.length; row += experts, group += perSource) {
    for (let expert = 0; expert < experts; expert++) {
      sizes[group + ofExpert[expert]] += counts[row + expert];
      pruned -= counts[row + expert];
    }
  }
  sizes[limits.length] = pruned;
  const withPruned = new Float64Array(sizes.length);
  withPruned.set(limits);
  return { tokens, perSource, ofExpert, sizes, limits: withPruned };
}

function countKept(
  { topK, experts, source }: TokenTable,
  dropped: Int32Array,
  { counts, placement }: DropInput,
): Int32Array {
  const kept = Int32Array.from(counts);
  for (const copy of dropped) {
    const expert = experts[copy];
    if (expert !== NO_EXPERT) kept[source[Math.floor(copy / topK)] * placement.experts + expert]--;
  }
  return kept;
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

/** What tokens lose with these copies. */
function lossesOf(
  tokens: TokenTable,
  dropped: Int32Array,
): Pick<Drop, 'keptCopies' | 'tokensLost' | 'keptGateMass'> {
  const { count, topK, weights } = tokens;
  const keptCopies = new Uint8Array(count * topK).fill(1);
  let lostMass = 0;
  for (let i = 0; i < dropped.length; i++) keptCopies[dropped[i]] = 0;
  if (weights !== null) for (let i = 0; i < dropped.length; i++) lostMass += weights[dropped[i]];
  let tokensLost = 0;
  for (let token = 0, copy = 0; token < count; token++, copy += topK) {
    // Most tokens keep their first choice.
    if (keptCopies[copy] === 0 && isLost(tokens, keptCopies, token)) tokensLost++;
  }
  const mass = weights === null ? 0 : gateMassOf(tokens, weights);
  return { keptCopies, tokensLost, keptGateMass: mass > 0 ? Math.max(0, mass - lostMass) / mass : null };
}

/** Whether a token keeps none of its copies, of which not all were pruned. */
function isLost({ topK, experts }: TokenTable, keptCopies: Uint8Array, token: number): boolean {
  let wasRouted = false;
  for (let copy = token * topK; copy < (token + 1) * topK; copy++) {
    if (keptCopies[copy] === 1) return false;
    if (experts[copy] !== NO_EXPERT) wasRouted = true;
  }
  return wasRouted;
}

/** Sums of tables that last. */
const lastingMass = new WeakMap<TokenTable, number>();

function gateMassOf(tokens: TokenTable, weights: Float32Array): number {
  const known = lastingMass.get(tokens);
  if (known !== undefined) return known;
  let mass = 0;
  for (let copy = 0; copy < tokens.count * tokens.topK; copy++) mass += weights[copy];
  if (tokens.lasting) lastingMass.set(tokens, mass);
  return mass;
}
