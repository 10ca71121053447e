import { sum } from 'd3-array';
import type { ExpertLayout } from '../../../hardware/index.js';
import type { TileRows } from '../kernels/grouped-gemm.js';

/** Rows of neighbouring experts that one dispatch covers. */
export interface Segment {
  /** Four words per tile: expert, first row, rows, 0. An expert without rows has none and costs nothing. */
  tiles: Uint32Array<ArrayBuffer>;
  firstRow: number;
  rows: number;
}

/** Rows of tiles for these counts: small ones where the active experts have few rows. */
export function tileRowsFor(counts: readonly number[]): TileRows {
  const active = counts.filter((n) => n > 0);
  return sum(active) <= 16 * active.length ? 16 : 64;
}

/** One segment of all experts (`fused`), or one per expert that has rows (`loop`). */
export function segmentsOf(counts: readonly number[], layout: ExpertLayout, tileRows: TileRows): Segment[] {
  const segments: Segment[] = [];
  let firstRow = 0;
  counts.forEach((rows, expert) => {
    if (rows === 0) return;
    const tiles: number[] = [];
    for (let row = 0; row < rows; row += tileRows) {
      tiles.push(expert, firstRow + row, Math.min(tileRows, rows - row), 0);
    }
    segments.push({ tiles: Uint32Array.from(tiles), firstRow, rows });
    firstRow += rows;
  });
  if (layout === 'loop') return segments;
  return [
    { tiles: Uint32Array.from(segments.flatMap(({ tiles }) => [...tiles])), firstRow: 0, rows: firstRow },
  ];
}

/** The expert of every row. */
export function expertOfRows(counts: readonly number[]): Int32Array {
  const experts = new Int32Array(sum(counts));
  let row = 0;
  counts.forEach((rows, expert) => {
    experts.fill(expert, row, row + rows);
    row += rows;
  });
  return experts;
}
