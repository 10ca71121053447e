/**
 * The largest batch up to a wanted one that a recording allows; a smaller one fits wherever a larger one does.
 * @param fits whether it allows so many tokens per GPU
 * @returns null where it allows none
 */
export async function largestBatch(
  wanted: number,
  fits: (tokensPerGpu: number) => Promise<boolean>,
): Promise<number | null> {
  if (await fits(wanted)) return wanted;
  let [known, failed] = [0, wanted];
  while (failed - known > 1) {
    const tried = Math.floor((known + failed) / 2);
    if (await fits(tried)) known = tried;
    else failed = tried;
  }
  return known === 0 ? null : known;
}
