/** Rows that `addEightRows` takes at once. */
export const ROWS_AT_ONCE = 8;

/**
 * Adds eight rows of a matrix, between two columns, to sums by column, and writes their sums by row. One pass
 * with the row sums in registers takes half the time of two, and `| 0` says that sums stay below 2^31.
 *
 * @param row index of the first row's first element
 * @param width elements per row
 * @param columnSums by column; added to
 * @param rowSums written at `to`, `to + stride`, …
 */
export function addEightRows(
  matrix: Int32Array,
  row: number,
  width: number,
  from: number,
  until: number,
  columnSums: Float64Array,
  rowSums: Float64Array,
  to: number,
  stride: number,
): void {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let s4 = 0;
  let s5 = 0;
  let s6 = 0;
  let s7 = 0;
  for (let column = from; column < until; column++) {
    let at = row + column;
    const c0 = matrix[at];
    const c1 = matrix[(at += width)];
    const c2 = matrix[(at += width)];
    const c3 = matrix[(at += width)];
    const c4 = matrix[(at += width)];
    const c5 = matrix[(at += width)];
    const c6 = matrix[(at += width)];
    const c7 = matrix[at + width];
    s0 = (s0 + c0) | 0;
    s1 = (s1 + c1) | 0;
    s2 = (s2 + c2) | 0;
    s3 = (s3 + c3) | 0;
    s4 = (s4 + c4) | 0;
    s5 = (s5 + c5) | 0;
    s6 = (s6 + c6) | 0;
    s7 = (s7 + c7) | 0;
    const low = (((c0 + c1) | 0) + ((c2 + c3) | 0)) | 0;
    const high = (((c4 + c5) | 0) + ((c6 + c7) | 0)) | 0;
    columnSums[column] += (low + high) | 0;
  }
  rowSums[to] = s0;
  rowSums[(to += stride)] = s1;
  rowSums[(to += stride)] = s2;
  rowSums[(to += stride)] = s3;
  rowSums[(to += stride)] = s4;
  rowSums[(to += stride)] = s5;
  rowSums[(to += stride)] = s6;
  rowSums[to + stride] = s7;
}
