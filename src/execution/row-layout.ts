import type { ExpertLayout } from '../hardware/index.js';

/**
 * How the rows of a GPU's experts lie in memory:
 * - fused: one after another, as many as there are, for one grouped product;
 * - loop: the same, one expert at a time;
 * - contiguous: every expert's rows aligned to 128, so that a grouped product finds an expert per tile (DeepGEMM's
 *   `m_grouped_*_contiguous`); kernels between the products go through the empty rows too;
 * - masked: a static buffer of [slots, most rows an expert can get] with the number of rows beside it, which no host
 *   has to know (DeepGEMM's `m_grouped_*_masked`).
 */
export const ROW_LAYOUTS = ['fused', 'loop', 'contiguous', 'masked'] as const;

export type RowLayout = (typeof ROW_LAYOUTS)[number];

/** Rows of an expert in DeepGEMM's contiguous layout come in multiples of this, the height of its tiles. */
const CONTIGUOUS_ALIGNMENT = 128;

/** The kernels of a profile that a layout runs: only a loop is timed apart from grouped products. */
export function kernelLayout(layout: RowLayout): ExpertLayout {
  return layout === 'loop' ? 'loop' : 'fused';
}

/** What rows of an expert are rounded up to, where the kernel alone rounds to `kernel`. */
export function layoutRounding(layout: RowLayout, kernel: number): number {
  if (layout !== 'contiguous') return kernel;
  return Math.ceil(kernel / CONTIGUOUS_ALIGNMENT) * CONTIGUOUS_ALIGNMENT;
}

/** Rows of a GPU that its buffers hold. */
export interface RowsOfGpu {
  rows: number;
  /** Every expert's rows rounded up. */
  rounded: number;
  /** Rows of its largest expert. */
  largest: number;
  /** Rows that its slots could get at most, together. */
  most: number;
}

/** Rows that buffers of copies have room for. */
export function bufferedRows(layout: RowLayout, { rows, rounded, most }: RowsOfGpu): number {
  if (layout === 'contiguous') return rounded;
  return layout === 'masked' ? most : rows;
}

/** Rows that buffers between the two products have room for. */
export function rowsBetween(layout: RowLayout, rows: RowsOfGpu): number {
  return layout === 'loop' ? rows.largest : bufferedRows(layout, rows);
}
