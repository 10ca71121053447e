import { groupedGemmKernel, TILE_COLUMNS, type TileRows } from '../kernels/grouped-gemm.js';
import type { ShaderDtype } from '../kernels/kernel.js';
import { wordBuffer, type BufferSpec, type Dispatch } from '../plan.js';
import type { Segment } from './segments.js';

/** The tile lists of all segments, by buffer name. */
export function tileBuffers(segments: readonly Segment[]): Record<string, BufferSpec> {
  return Object.fromEntries(segments.map(({ tiles }, i) => [`tiles ${i}`, wordBuffer(tiles)]));
}

/** One dispatch per segment: `output` = `input` × the expert's matrix of `weights`. */
export function productDispatches(
  segments: readonly Segment[],
  of: {
    input: string;
    weights: string;
    output: string;
    inner: number;
    columns: number;
    dtype: ShaderDtype;
    tileRows: TileRows;
  },
): Dispatch[] {
  const { input, weights, output, inner, columns, dtype, tileRows } = of;
  const kernel = groupedGemmKernel(dtype, tileRows, columns);
  return segments.map(({ tiles }, i) => ({
    kernel,
    constants: { inner, columns },
    bindings: [input, weights, `tiles ${i}`, output],
    workgroups: [Math.ceil(columns / TILE_COLUMNS), tiles.length / 4],
  }));
}

/** Adds row × matrix to `sums`: float64 reference of one row of a product. */
export function addRowTimesMatrix(
  sums: Float64Array,
  row: (index: number) => number,
  inner: number,
  matrix: (index: number) => number,
): void {
  const columns = sums.length;
  for (let i = 0; i < inner; i++) {
    const x = row(i);
    for (let column = 0; column < columns; column++) sums[column] += x * matrix(i * columns + column);
  }
}

/** A power of two near 1/√inner: weights of this size keep sums of `inner` products near 1, in fp16 too. */
export function weightScale(inner: number): number {
  return 2 ** -Math.ceil(Math.log2(inner) / 2);
}
