/** What a quantiser adds to the bits of a weight. */
export interface Quantiser {
  /** Scales and zero points, in bits per weight: 0.25 for 32 bits per group of 128. */
  overheadBits: number;
  /** Share of channels that have a 1-bit residual besides. */
  residualShare: number;
}

/**
 * Bits that a weight of `bits` bits takes in memory. A residual quantiser spends one more bit on a share of the channels,
 * where outliers are (MPQ-DMv2, arXiv 2507.04290: of diffusion models; only its bytes are taken over here).
 */
export function effectiveBits(bits: number, { overheadBits, residualShare }: Quantiser): number {
  return bits + residualShare + overheadBits;
}
