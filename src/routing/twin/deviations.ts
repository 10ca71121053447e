/**
 * How far the probabilities at positions are from the popularity, and how far those of all other tokens then are, so
 * that popularity is the mean over all.
 * @param alike positions, each with its share of the tokens
 */
export function deviationsOf(
  alike: readonly { share: number; probabilities: Float64Array }[],
  popularity: Float64Array,
): { own: Float64Array[]; elsewhere: Float64Array } {
  const own = alike.map(({ probabilities }) => probabilities.map((p, i) => p - popularity[i]));
  const rest = 1 - alike.reduce((sum, { share }) => sum + share, 0);
  const elsewhere = new Float64Array(popularity.length);
  if (rest > 1e-9) {
    own.forEach((deviation, at) =>
      deviation.forEach((d, i) => (elsewhere[i] -= (d * alike[at].share) / rest)),
    );
  }
  return { own, elsewhere };
}
