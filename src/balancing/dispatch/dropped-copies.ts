import { NO_EXPERT, randomStream, shuffle, type TokenTable } from '../../routing/index.js';
import { groupOfCopies, groupStarts, overLimit, type CopyGroups } from './copy-groups.js';
import { kthSmallest } from './kth-smallest.js';

/** Who is kept first: by position, gate weight, tokens by their largest gate weight, or at random. */
export const orders = ['position', 'score', 'batch-prioritised', 'random'] as const;

export type Order = (typeof orders)[number];

/** Orders that compare gate weights. */
export function needsScores(order: Order): boolean {
  return order === 'score' || order === 'batch-prioritised';
}

/**
 * The copies (token · topK + choice) beyond their group's limit, those that were pruned among them. The array is reused.
 * @param seed names the draws of order `random`
 */
export function droppedCopies(order: Order, groups: CopyGroups, seed: string): Int32Array {
  switch (order) {
    case 'position':
      return lastOfQueues(queuesOf(groups), groups);
    case 'score':
      return smallestOf(groups);
    case 'batch-prioritised':
      return lateIn(groups, groups.tokens.topK, bestFirst(groups.tokens));
    case 'random': {
      // Copies in random order claim as tokens with one choice each do.
      const { count, topK } = groups.tokens;
      return lateIn(groups, 1, shuffle(inOrder(count * topK), randomStream(seed, 'drop')));
    }
  }
}

/** Taken anew for every batch, it would be most of what a run allocates. */
let scratch = new Int32Array(0);

function scratchOf(size: number): Int32Array {
  if (scratch.length < size) scratch = new Int32Array(size);
  return scratch;
}

/** Queues of tables that last, by table: whatever the limits, copies claim in the same order. */
const lastingQueues = new WeakMap<TokenTable, Int32Array>();

/**
 * Copies group by group as they claim its capacity by position: all first choices before all second ones, each in the
 * order of the tokens.
 */
function queuesOf(groups: CopyGroups): Int32Array {
  const { tokens, perSource } = groups;
  // Groups of experts per source are those of every run over the table; others hang on a placement or a budget.
  const lasts = tokens.lasting === true && perSource > 0;
  const known = lasts ? lastingQueues.get(tokens) : undefined;
  if (known) return known;
  const queues = new Int32Array(tokens.count * tokens.topK);
  fillQueues(queues, groups);
  if (lasts) lastingQueues.set(tokens, queues);
  return queues;
}

function fillQueues(queues: Int32Array, { tokens, perSource, ofExpert, sizes }: CopyGroups): void {
  const { count, topK, experts, source } = tokens;
  const pruned = sizes.length - 1;
  const next = groupStarts(sizes);
  for (let choice = 0; choice < topK; choice++) {
    for (let token = 0, copy = choice; token < count; token++, copy += topK) {
      const expert = experts[copy];
      const group = expert === NO_EXPERT ? pruned : source[token] * perSource + ofExpert[expert];
      queues[next[group]++] = copy;
    }
  }
}

function lastOfQueues(queues: Int32Array, groups: CopyGroups): Int32Array {
  const { sizes } = groups;
  const dropped = scratchOf(queues.length);
  let count = 0;
  for (let group = 0, end = 0; group < sizes.length; group++) {
    end += sizes[group];
    for (let at = end - overLimit(groups, group); at < end; at++) dropped[count++] = queues[at];
  }
  return dropped.subarray(0, count);
}

/** Copies that find no capacity left: all first choices claim it, in the order of the tokens, before all second ones. */
function lateIn(groups: CopyGroups, topK: number, order: Int32Array): Int32Array {
  const { limits } = groups;
  const ofCopy = groupOfCopies(groups);
  const used = new Int32Array(limits.length);
  const dropped = scratchOf(ofCopy.length);
  let count = 0;
  for (let choice = 0; choice < topK; choice++) {
    for (let i = 0; i < order.length; i++) {
      const copy = order[i] * topK + choice;
      const group = ofCopy[copy];
      if (used[group] < limits[group]) used[group]++;
      else dropped[count++] = copy;
    }
  }
  return dropped.subarray(0, count);
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

/** The copies with the smallest gate weights of every group, the last among equals. */
function smallestOf(groups: CopyGroups): Int32Array {
  const weights = groups.tokens.weights!;
  const { members, first } = membersOfFull(groups);
  const sorted = new Float32Array(members.length);
  for (let i = 0; i < members.length; i++) sorted[i] = weights[members[i]];
  const dropped = scratchOf(members.length);
  let count = 0;
  for (let group = 0; group < groups.limits.length; group++) {
    const over = overLimit(groups, group);
    if (over === 0) continue;
    const [from, to] = [first[group], first[group + 1]];
    // The largest weight that is not safe, and how many copies of just that weight must go: the last ones.
    const edge = kthSmallest(sorted, from, to, over - 1);
    let atEdge = over;
    for (let i = from; i < to; i++) if (weights[members[i]] < edge) atEdge--;
    for (let i = to - 1; i >= from; i--) {
      const weight = weights[members[i]];
      if (weight < edge || (weight === edge && atEdge-- > 0)) dropped[count++] = members[i];
    }
  }
  return dropped.subarray(0, count);
}

/**
 * Copies of the groups that have more than their limit, group by group, in order within each; `first` has the place of
 * every group's first, and the end.
 */
function membersOfFull(groups: CopyGroups): { members: Int32Array; first: Int32Array } {
  const ofCopy = groupOfCopies(groups);
  const full = groups.sizes.map((size, group) => (overLimit(groups, group) > 0 ? size : 0));
  const first = groupStarts(full);
  const next = Int32Array.from(first);
  const members = new Int32Array(first[full.length]);
  for (let copy = 0; copy < ofCopy.length; copy++) {
    const group = ofCopy[copy];
    if (full[group] > 0) members[next[group]++] = copy;
  }
  return { members, first };
}
