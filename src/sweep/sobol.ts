/** Binary digits of a coordinate. */
export const SOBOL_BITS = 32;

/**
 * Primitive polynomials and first direction numbers of dimensions 2 to 21: [degree s, coefficients a, m₁ … m_s].
 *
 * Source: S. Joe, F. Y. Kuo, "Constructing Sobol sequences with better two-dimensional projections", SIAM J. Sci.
 * Comput. 30 (2008), table new-joe-kuo-6.21201. Dimension 1 is van der Corput's sequence.
 */
const JOE_KUO: readonly [number, number, readonly number[]][] = [
  [1, 0, [1]],
  [2, 1, [1, 3]],
  [3, 1, [1, 3, 1]],
  [3, 2, [1, 1, 1]],
  [4, 1, [1, 1, 3, 3]],
  [4, 4, [1, 3, 5, 13]],
  [5, 2, [1, 1, 5, 5, 17]],
  [5, 4, [1, 1, 5, 5, 5]],
  [5, 7, [1, 1, 7, 11, 19]],
  [5, 11, [1, 1, 5, 1, 1]],
  [5, 13, [1, 1, 1, 3, 11]],
  [5, 14, [1, 3, 5, 5, 31]],
  [6, 1, [1, 3, 3, 9, 7, 49]],
  [6, 13, [1, 1, 1, 15, 21, 21]],
  [6, 16, [1, 3, 1, 13, 27, 49]],
  [6, 19, [1, 1, 1, 15, 7, 5]],
  [6, 22, [1, 3, 1, 15, 13, 25]],
  [6, 25, [1, 1, 5, 5, 19, 61]],
  [7, 1, [1, 3, 7, 11, 23, 15, 103]],
  [7, 4, [1, 3, 7, 13, 13, 15, 69]],
];

export const MOST_DIMENSIONS = JOE_KUO.length + 1;

/** Direction numbers by dimension, as 32-bit fractions; made when first asked for. */
const directions: Uint32Array[] = [];

/**
 * Coordinate `dimension` (from 0) of point `index` of the Sobol sequence, as a 32-bit fraction, in the Gray-code
 * order of Antonov and Saleev (1979). Point 0 is the origin; any point can be had without those before it.
 */
export function sobolBits(index: number, dimension: number): number {
  const v = (directions[dimension] ??= directionNumbers(dimension));
  let gray = (index ^ (index >>> 1)) >>> 0;
  let bits = 0;
  for (let bit = 0; gray !== 0; bit++, gray >>>= 1) {
    if (gray & 1) bits ^= v[bit];
  }
  return bits >>> 0;
}

/** v_k = m_k / 2^k, with m_k by the recurrence of Bratley and Fox (1988), eq. 2. */
function directionNumbers(dimension: number): Uint32Array {
  const v = new Uint32Array(SOBOL_BITS);
  if (dimension === 0) {
    for (let k = 0; k < SOBOL_BITS; k++) v[k] = 2 ** (SOBOL_BITS - 1 - k);
    return v;
  }
  const [degree, coefficients, first] = JOE_KUO[dimension - 1];
  for (let k = 0; k < SOBOL_BITS; k++) {
    if (k < degree) {
      v[k] = first[k] * 2 ** (SOBOL_BITS - 1 - k);
      continue;
    }
    let bits = v[k - degree] ^ (v[k - degree] >>> degree);
    for (let j = 1; j < degree; j++) {
      if ((coefficients >>> (degree - 1 - j)) & 1) bits ^= v[k - j];
    }
    v[k] = bits >>> 0;
  }
  return v;
}
