import { group as groupBy } from 'd3-array';
import { combinedSpread, spreadOf, type Spread } from '../../metrics/index.js';
import { accuracyOf, FEWEST_SHAPES, logError, skewErrors, type Predicted } from './accuracy.js';

/**
 * Share of rows that lie in their 90 % intervals, where the intervals of a shape's rows come from the errors of
 * all other shapes; with too few shapes to tell, those of every fourth row from the errors of the others.
 * @param rows predictions by fits that have not seen them
 */
export function heldRows(rows: readonly Predicted[]): number {
  return heldShare(rows, logErrors, (others) => {
    const { sharedRange, rowRange } = accuracyOf('other shapes', others);
    return combinedSpread([spreadOf(sharedRange), spreadOf(rowRange)]);
  });
}

/** The same of ratios: time of skewed rows over that of the balanced row of their setting. */
export function heldSkews(rows: readonly Predicted[]): number {
  return heldShare(rows, skewErrors, (others) =>
    spreadOf(accuracyOf('other shapes', others).skewRange ?? [1, 1]),
  );
}

function heldShare(
  rows: readonly Predicted[],
  errorsOf: (own: readonly Predicted[]) => number[],
  spreadFrom: (others: readonly Predicted[]) => Spread,
): number {
  const shapes = [...groupBy(rows, ({ shape }) => shape).values()];
  const parts =
    shapes.length >= FEWEST_SHAPES
      ? shapes
      : [0, 1, 2, 3].map((fold) => rows.filter((_, i) => i % 4 === fold));
  let held = 0;
  let all = 0;
  for (const own of parts) {
    const left = new Set(own);
    const { below, above } = spreadFrom(rows.filter((row) => !left.has(row)));
    const errors = errorsOf(own);
    held += errors.filter((error) => -below <= error && error <= above).length;
    all += errors.length;
  }
  return held / all;
}

function logErrors(rows: readonly Predicted[]): number[] {
  return rows.map(logError);
}
