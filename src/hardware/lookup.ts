import type { Lookup } from './profile.js';

/** A measured shape, ready to be asked for the factor on the form at a number of rows. */
export interface StageLookup {
  slots: number;
  logRows: Float64Array;
  logFactors: Float64Array;
}

export function stageLookup({ slots, rows, factors }: Lookup): StageLookup {
  return {
    slots,
    logRows: Float64Array.from(rows, Math.log),
    logFactors: Float64Array.from(factors, Math.log),
  };
}

/**
 * Factor on the form's time for a GPU with so many slots and rows: that of the measured size; between two sizes
 * linear in the logarithms; beyond the ends that of the end, so that rows are computed at the boundary's
 * rate; 1 where no GPU with as many slots was measured.
 */
export function lookupFactor(lookups: readonly StageLookup[], slots: number, rows: number): number {
  for (const lookup of lookups) {
    if (lookup.slots === slots) return Math.exp(interpolated(lookup, Math.log(rows)));
  }
  return 1;
}

function interpolated({ logRows, logFactors }: StageLookup, at: number): number {
  const last = logRows.length - 1;
  if (at <= logRows[0]) return logFactors[0];
  if (at >= logRows[last]) return logFactors[last];
  let low = 0;
  let high = last;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (logRows[middle] <= at) low = middle;
    else high = middle;
  }
  const share = (at - logRows[low]) / (logRows[high] - logRows[low]);
  return logFactors[low] + share * (logFactors[high] - logFactors[low]);
}
