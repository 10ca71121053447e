/** A share of independent trials, with its 90 % interval (Wilson's score). */
export interface ShareInterval {
  share: number;
  low: number;
  high: number;
}

/** Of a normal distribution, 90 % lies within as many standard deviations. */
const Z = 1.6449;

/** @param trials as many as the trials are worth, at least one */
export function shareInterval(share: number, trials: number): ShareInterval {
  const centre = (share + (Z * Z) / (2 * trials)) / (1 + (Z * Z) / trials);
  const half =
    (Z * Math.sqrt((share * (1 - share)) / trials + (Z * Z) / (4 * trials * trials))) /
    (1 + (Z * Z) / trials);
  // Rounding must not leave the share itself out.
  return {
    share,
    low: Math.max(0, Math.min(share, centre - half)),
    high: Math.min(1, Math.max(share, centre + half)),
  };
}
