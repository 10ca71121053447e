import { randomStream, shuffle, type TokenTable } from '../../routing/index.js';
import type { Placement } from '../placement.js';
import type { Drop } from '../plan.js';

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

/** The group whose capacity a copy of `expert` from `source` counts against. */
function groupOf(rule: CapacityRule, { placement }: DropInput): (source: number, expert: number) => number {
  const { experts, home } = placement;
  if (rule.budget === 'gpu') return (_, expert) => home[expert];
  if (rule.budget === 'expert') return (_, expert) => expert;
  return (source, expert) => source * experts + expert;
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
  const { experts } = input.placement;
  const group = groupOf(rule, input);
  const used = new Int32Array(limits.length);
  const kept = new Int32Array(input.counts.length);
  const keptCopies = new Uint8Array(tokens.count * tokens.topK);
  const claim = (copy: number, source: number) => {
    const expert = tokens.experts[copy];
    const g = group(source, expert);
    if (used[g] >= limits[g]) return;
    used[g]++;
    keptCopies[copy] = 1;
    kept[source * experts + expert]++;
  };
  const { topK, source } = tokens;
  const listed = copyOrder(rule, tokens, input.seed);
  if (listed) {
    for (const copy of listed) claim(copy, source[Math.floor(copy / topK)]);
  } else {
    const order = tokenOrder(rule, tokens);
    // All first choices come before all second ones.
    for (let choice = 0; choice < topK; choice++) {
      for (let i = 0; i < tokens.count; i++) {
        const token = order ? order[i] : i;
        claim(token * topK + choice, source[token]);
      }
    }
  }
  return { ...NOTHING_MORE, kept, keptCopies, ...tokenLosses(tokens, keptCopies) };
}

/** Copies (token · topK + choice) in the order in which they claim capacity; null where tokens do, by choice. */
function copyOrder(
  rule: CapacityRule,
  { count, topK, weights }: TokenTable,
  seed: string,
): Int32Array | null {
  if (rule.order !== 'random' && rule.order !== 'score') return null;
  const copies = Int32Array.from({ length: count * topK }, (_, copy) => copy);
  if (rule.order === 'random') return shuffle(copies, randomStream(seed, 'drop'));
  return copies.sort((a, b) => weights![b] - weights![a] || a - b);
}

/** Tokens in the order in which they claim capacity; null: by position. */
function tokenOrder(rule: CapacityRule, { count, topK, weights }: TokenTable): Int32Array | null {
  if (rule.order !== 'batch-prioritised') return null;
  const tokens = Int32Array.from({ length: count }, (_, token) => token);
  const best = Float32Array.from(tokens, (token) =>
    Math.max(...weights!.subarray(token * topK, (token + 1) * topK)),
  );
  return tokens.sort((a, b) => best[b] - best[a] || a - b);
}

function keepCounts(rule: CapacityRule, input: DropInput, limits: Float64Array): Int32Array {
  const { counts, placement } = input;
  const { gpus, experts } = placement;
  const group = groupOf(rule, input);
  const members: number[][] = Array.from(limits, () => []);
  for (let source = 0; source < gpus; source++) {
    for (let expert = 0; expert < experts; expert++) {
      if (counts[source * experts + expert] > 0)
        members[group(source, expert)].push(source * experts + expert);
    }
  }
  const kept = Int32Array.from(counts);
  const random = rule.order === 'random' ? randomStream(input.seed, 'drop') : null;
  members.forEach((cells, g) => {
    const load = cells.reduce((sum, cell) => sum + counts[cell], 0);
    if (load <= limits[g]) return;
    if (random) drawWithoutReplacement(cells, counts, load, limits[g], random, kept);
    else keepInOrder(cells, counts, limits[g], experts, kept);
  });
  return kept;
}

/** Draws which `limit` of the copies in `cells` are kept. */
function drawWithoutReplacement(
  cells: number[],
  counts: Int32Array,
  load: number,
  limit: number,
  random: () => number,
  kept: Int32Array,
): void {
  let left = load;
  let open = limit;
  for (const cell of cells) {
    let own = 0;
    for (let copy = 0; copy < counts[cell]; copy++, left--) {
      if (random() * left < open) {
        own++;
        open--;
      }
    }
    kept[cell] = own;
  }
}

/** Keeps whole sources in order; the source at the edge keeps its experts in proportion. */
function keepInOrder(
  cells: number[],
  counts: Int32Array,
  limit: number,
  experts: number,
  kept: Int32Array,
): void {
  let open = limit;
  for (let i = 0; i < cells.length;) {
    const source = Math.floor(cells[i] / experts);
    let last = i;
    let load = 0;
    while (last < cells.length && Math.floor(cells[last] / experts) === source) load += counts[cells[last++]];
    const share = Math.min(open, load);
    // Cumulative rounding, so that the parts sum to the share.
    let before = 0;
    let given = 0;
    for (; i < last; i++) {
      before += counts[cells[i]];
      const upTo = load === 0 ? 0 : Math.floor((share * before) / load);
      kept[cells[i]] = upTo - given;
      given = upTo;
    }
    open -= share;
  }
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

function tokenLosses(
  { count, topK, weights }: TokenTable,
  keptCopies: Uint8Array,
): Pick<Drop, 'tokensLost' | 'keptGateMass'> {
  let tokensLost = 0;
  let mass = 0;
  let keptMass = 0;
  for (let token = 0; token < count; token++) {
    let left = 0;
    for (let copy = token * topK; copy < (token + 1) * topK; copy++) {
      left += keptCopies[copy];
      if (!weights) continue;
      mass += weights[copy];
      if (keptCopies[copy]) keptMass += weights[copy];
    }
    if (left === 0) tokensLost++;
  }
  return { tokensLost, keptGateMass: weights ? keptMass / mass : null };
}
