import type { Range } from './profile.js';

/** Factors by which the truth may lie below and above numbers that no measurement stands behind (90 %). */
export const ASSUMED_RANGES = {
  /**
   * What first guesses of the H100's fused stage turned out to be worth: of 71,307 rows of TensorRT-LLM
   * (ai-dynamo/aiconfigurator @ 095f58a), 90 % took between 0.8 and 4 times as long, most of them longer.
   */
  expertStage: [0.8, 4],
  /** The same rows, as ratios of a skewed to the balanced row (fp8_block). */
  skew: [0.88, 1.36],
  /**
   * Attention, dense layers, shared experts and head by shares of the datasheet: products of an H800 take 0.87 to 3
   * times what those say (0.82 to 1.2 without products of many small matrices), those of an H20 0.63 to 1.1;
   * attention's own share is assumed.
   */
  dense: [0.65, 1.5],
  /** Links by datasheet or below the sizes that they were fitted on, moves of placements, copies and gathers: assumed. */
  link: [1 / 1.5, 1.5],
  movement: [1 / 1.5, 1.5],
  copies: [1 / 1.5, 1.5],
  /** Planners of new placements: published ones take 1 to 11 times the default per expert and layer (vLLM, SGLang). */
  planning: [1 / 1.5, 11],
  /** Backward products, derived from the forward kernel: none was measured, and their kernels are others. */
  gradients: [1 / 1.5, 1.5],
  /** Exchanges whose busiest port carries twice the mean or more; less skew, less range. No measurement exists. */
  skewedTraffic: [1 / 1.5, 1.5],
} as const satisfies Record<string, Range>;
