import { group as groupBy, mean, median } from 'd3-array';
import type { Accuracy } from '../../hardware/index.js';

/** A row that was predicted without having been fitted. */
export interface Predicted {
  /** Rows of one shape share an error. */
  shape: string;
  group: string;
  /** Seconds. */
  predicted: number;
  measured: number;
}

/** predicted / measured − 1. */
function errorOf({ predicted, measured }: Predicted): number {
  return predicted / measured - 1;
}

/** Mean absolute error, median absolute error and bias of rows, as fractions; zeros where there are none. */
export function errorsOf(rows: readonly Predicted[]): { mape: number; median: number; bias: number } {
  const errors = rows.map(errorOf);
  return {
    mape: mean(errors, Math.abs) ?? 0,
    median: median(errors, Math.abs) ?? 0,
    bias: mean(errors) ?? 0,
  };
}

/**
 * Accuracy of predictions, with the log error split into what rows of one shape share (its median) and the
 * rest. Both are given by where 90 % of them lie, so that a few outliers in a table do not widen every interval.
 * @throws RangeError where there are no rows
 */
export function accuracyOf(how: string, rows: readonly Predicted[]): Accuracy {
  if (rows.length === 0) throw new RangeError('no rows to compare with');
  const shapes = [...groupBy(rows, ({ shape }) => shape).values()].map((own) => {
    const logs = own.map(logError);
    return { shared: median(logs)!, logs };
  });
  const residuals = shapes.flatMap(({ shared, logs }) => logs.map((log) => log - shared));
  return {
    how,
    rows: rows.length,
    ...errorsOf(rows),
    sharedDeviation: shapes.length > 1 ? robustDeviation(shapes.map(({ shared }) => shared)) : 0,
    rowDeviation: robustDeviation(residuals),
    groups: [...groupBy(rows, ({ group }) => group)].map(([group, own]) => {
      const { mape, bias } = errorsOf(own);
      return { group, rows: own.length, mape, bias };
    }),
  };
}

function logError({ predicted, measured }: Predicted): number {
  return Math.log(predicted / measured);
}

/** Standard deviation of the normal law around 0 of which as many values lie as far out as here: 90 % within. */
function robustDeviation(values: readonly number[]): number {
  const sorted = values.map(Math.abs).sort((a, b) => a - b);
  const at = Math.min(sorted.length - 1, Math.floor(0.9 * sorted.length));
  return sorted[at] / NORMAL_QUANTILE_95;
}

/** 90 % of a standard normal law lie within this. */
const NORMAL_QUANTILE_95 = 1.6449;
