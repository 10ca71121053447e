/** How far a logarithm may lie below and above its estimate, 90 % of the time; both ≥ 0. */
export interface Spread {
  below: number;
  above: number;
}

/** Of factors [low, high] around an estimate; one that the range leaves out is its end. */
export function spreadOf([low, high]: readonly [number, number]): Spread {
  return { below: Math.max(0, -Math.log(low)), above: Math.max(0, Math.log(high)) };
}

/** The same with a part of its reach. */
export function scaledSpread({ below, above }: Spread, by: number): Spread {
  return { below: by * below, above: by * above };
}

/** Of the reciprocal. */
export function turnedSpread({ below, above }: Spread): Spread {
  return { below: above, above: below };
}

/** ln of what a factor e^log on the share `share` of a whole does to the whole. */
function effect(share: number, log: number): number {
  return Math.log1p(share * Math.expm1(log));
}

/** Of a whole of which a part, the share `share`, has the given spread. */
export function effectSpread({ below, above }: Spread, share: number): Spread {
  return { below: -effect(share, -below), above: effect(share, above) };
}

/** Of the ratio of two wholes whose parts err together: both by the lower end of their spreads, or the upper. */
export function sharedErrorSpread(a: Spread, shareA: number, b: Spread, shareB: number): Spread {
  const ends = [
    effect(shareA, -a.below) - effect(shareB, -b.below),
    effect(shareA, a.above) - effect(shareB, b.above),
  ];
  return { below: Math.max(0, -Math.min(...ends)), above: Math.max(0, ...ends) };
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
