/** How far a logarithm may lie below and above its estimate, 90 % of the time; both ≥ 0. */
export interface Spread {
  below: number;
  above: number;
}

export const NO_SPREAD: Spread = { below: 0, above: 0 };

/** Of factors [low, high] around an estimate; one that the range leaves out is its end. */
export function spreadOf([low, high]: readonly [number, number]): Spread {
  return { below: Math.max(0, -Math.log(low)), above: Math.max(0, Math.log(high)) };
}

/** Of a quantity that goes with the `by`-th power of another; a negative power turns it round. */
export function scaledSpread({ below, above }: Spread, by: number): Spread {
  return by >= 0 ? { below: by * below, above: by * above } : { below: -by * above, above: -by * below };
}

/** Of a sum of independent logarithms: each side in quadrature. */
export function combinedSpread(spreads: readonly Spread[]): Spread {
  return {
    below: Math.hypot(...spreads.map(({ below }) => below)),
    above: Math.hypot(...spreads.map(({ above }) => above)),
  };
}

/** The 90 % interval around an estimate > 0. */
export function intervalAround(mean: number, { below, above }: Spread): { low: number; high: number } {
  return { low: mean * Math.exp(-below), high: mean * Math.exp(above) };
}
