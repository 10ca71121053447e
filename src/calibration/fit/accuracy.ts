import { deviation, group as groupBy, mean, median, quantileSorted } from 'd3-array';
import jstat from 'jstat';
import type { Accuracy, Range } from '../../hardware/index.js';

/** A row that was predicted without having been fitted. */
export interface Predicted {
  /** Rows of one shape share an error. */
  shape: string;
  group: string;
  /** What skewed rows and the balanced one that they are compared with have in common, where there is one. */
  setting?: string;
  balanced?: boolean;
  /** Rows that differ in their size alone: one kernel was tuned for them. */
  series?: string;
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

/** Predictions of one shape's rows, with what of their error they share: ln(measured / predicted). */
interface ShapeErrors {
  shared: number;
  /** What is left of each row's. */
  rest: number[];
}

/**
 * Accuracy of predictions, with measured / predicted split into what rows of one shape share (its median), the
 * rest of each row, and the ratio of skewed rows to balanced ones of the same setting.
 * @throws RangeError where there are no rows
 */
export function accuracyOf(how: string, rows: readonly Predicted[]): Accuracy {
  if (rows.length === 0) throw new RangeError('no rows to compare with');
  const byShape = [...groupBy(rows, ({ shape }) => shape).values()];
  const shapes =
    byShape.length >= FEWEST_SHAPES ? byShape.map(shapeErrors) : [{ shared: 0, rest: rows.map(logError) }];
  const skews = skewErrors(rows);
  return {
    how,
    rows: rows.length,
    ...errorsOf(rows),
    sharedRange: rangeOfNext(shapes.map(({ shared }) => shared)),
    rowRange: rangeOf(shapes.flatMap(({ rest }) => rest)),
    skewRange: skews.length >= FEWEST_PAIRS ? rangeOf(skews) : null,
    groups: [...groupBy(rows, ({ group }) => group)].map(([group, own]) => ({
      group,
      rows: own.length,
      ...errorsOf(own),
    })),
  };
}

/** Fewer pairs say nothing of a 90 % range. */
const FEWEST_PAIRS = 20;

/** Fewer shapes say nothing of what further ones would have in common: all their error counts as their rows'. */
export const FEWEST_SHAPES = 5;

function shapeErrors(own: readonly Predicted[]): ShapeErrors {
  const logs = own.map(logError);
  const shared = median(logs)!;
  return { shared, rest: logs.map((log) => log - shared) };
}

/** A series that is slower than the form by more than this, at its median, has a badly tuned kernel. */
const BADLY_TUNED = 1.5;

/**
 * ln(measured / predicted) of the time of a skewed over that of the balanced row of its setting. Pairs of which
 * one has a badly tuned kernel are left out: benchmarks tune a kernel for each series, while the policies of a run
 * share one.
 */
export function skewErrors(rows: readonly Predicted[]): number[] {
  const tuned = wellTuned(rows);
  const balanced = new Map(tuned.filter((row) => row.balanced).map((row) => [row.setting, logError(row)]));
  return tuned.flatMap((row) => {
    const other = row.balanced ? undefined : balanced.get(row.setting);
    return other === undefined ? [] : logError(row) - other;
  });
}

/** Rows of series whose kernel is not badly tuned. */
export function wellTuned(rows: readonly Predicted[]): Predicted[] {
  return [...groupBy(rows, ({ series }) => series)].flatMap(([series, own]) =>
    series === undefined || median(own, logError)! <= Math.log(BADLY_TUNED) ? own : [],
  );
}

/** ln(measured / predicted). */
export function logError({ predicted, measured }: Predicted): number {
  return Math.log(measured / predicted);
}

/** Factors between the 5th and the 95th percentile of logarithms. */
function rangeOf(logs: readonly number[]): Range {
  const sorted = [...logs].sort((a, b) => a - b);
  return [Math.exp(quantileSorted(sorted, 0.05)!), Math.exp(quantileSorted(sorted, 0.95)!)];
}

/** Factors between which a further one of normal logarithms lies (Student); 1 to 1 of a single one. */
function rangeOfNext(logs: readonly number[]): Range {
  const n = logs.length;
  if (n < 2) return [1, 1];
  const centre = mean(logs)!;
  const reach = jstat.studentt.inv(0.95, n - 1) * deviation(logs)! * Math.sqrt(1 + 1 / n);
  return [Math.exp(centre - reach), Math.exp(centre + reach)];
}
