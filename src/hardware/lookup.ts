import type { Lookup } from './profile.js';

/** A measured shape, ready to be asked for the factor on the form at a number of rows. */
export interface StageLookup {
  logRows: Float64Array;
  logFactors: Float64Array;
}

export function stageLookup({ rows, factors }: Lookup): StageLookup {
  return { logRows: Float64Array.from(rows, Math.log), logFactors: Float64Array.from(factors, Math.log) };
}

/**
 * Factor on the form's time at so many rows: that of the measured size; between two sizes linear in the
 * logarithms; beyond the ends that of the end, so that rows are computed at the boundary's rate.
 */
export function lookupFactor({ logRows, logFactors }: StageLookup, rows: number): number {
  const at = Math.log(rows);
  const last = logRows.length - 1;
  if (at <= logRows[0]) return Math.exp(logFactors[0]);
  if (at >= logRows[last]) return Math.exp(logFactors[last]);
  let low = 0;
  let high = last;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (logRows[middle] <= at) low = middle;
    else high = middle;
  }
  const share = (at - logRows[low]) / (logRows[high] - logRows[low]);
  return Math.exp(logFactors[low] + share * (logFactors[high] - logFactors[low]));
}
