import { NO_EXPERT, type TokenTable } from '../../routing/index.js';

/** The copies of a token table in groups that have a capacity each; the last group, without capacity, holds what was pruned. */
export interface CopyGroups {
  tokens: TokenTable;
  /** A copy counts against group `source · perSource + ofExpert[expert]`. */
  perSource: number;
  ofExpert: Int32Array;
  /** Copies that each group has, and how many of them it keeps. */
  sizes: Int32Array;
  limits: Float64Array;
}

/** Group of every copy, [token · topK + choice]. */
export function groupOfCopies({ tokens, perSource, ofExpert, limits }: CopyGroups): Int32Array {
  const { count, topK, experts, source } = tokens;
  const pruned = limits.length - 1;
  const groups = new Int32Array(count * topK);
  for (let token = 0, copy = 0; token < count; token++) {
    const first = source[token] * perSource;
    for (const end = copy + topK; copy < end; copy++) {
      const expert = experts[copy];
      groups[copy] = expert === NO_EXPERT ? pruned : first + ofExpert[expert];
    }
  }
  return groups;
}

/** Place of every group's first copy where copies stand group by group, and the end. */
export function groupStarts(sizes: Int32Array): Int32Array {
  const starts = new Int32Array(sizes.length + 1);
  for (let group = 0; group < sizes.length; group++) starts[group + 1] = starts[group] + sizes[group];
  return starts;
}

/** How many copies a group has beyond its limit. */
export function overLimit({ sizes, limits }: CopyGroups, group: number): number {
  return Math.max(0, sizes[group] - Math.floor(limits[group]));
}
