/** What a choice is wanted in, the more important the larger; NOBODY: not chosen. */
export const NOBODY = -1;
export const SKIP = 0;
export const LOW = 1;
export const HIGH = 2;

/**
 * Classes of one token's choices (HOBBIT, arXiv 2411.01433, §3.2): with gate weights sorted and summing to 1, a choice is
 * the less important the more weight stands before it; the first is always wanted in high precision.
 *
 * @param gates gate weights, of which those from `at` on are the token's
 * @param highUpTo, lowUpTo T1 and T2: the most weight before a choice of high, and of low precision
 * @param into classes of its `topK` choices, in the order of `gates`
 */
export function gateClasses(
  gates: ArrayLike<number>,
  at: number,
  topK: number,
  highUpTo: number,
  lowUpTo: number,
  into: Int8Array,
): void {
  let sum = 0;
  for (let j = 0; j < topK; j++) sum += gates[at + j];
  for (let j = 0; j < topK; j++) {
    const own = gates[at + j];
    let before = 0;
    for (let i = 0; i < topK; i++) {
      const other = gates[at + i];
      if (other > own || (other === own && i < j)) before += other;
    }
    const unimportance = sum > 0 ? before / sum : 0;
    into[j] = unimportance <= highUpTo ? HIGH : unimportance <= lowUpTo ? LOW : SKIP;
  }
}
