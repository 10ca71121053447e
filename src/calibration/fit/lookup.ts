import { group as groupBy, mean } from 'd3-array';
import { lookupFactor, stageLookup, type ExpertStage, type Lookup } from '../../hardware/index.js';
import { accuracyOf, type Predicted } from './accuracy.js';
import type { StageRow } from './expert-rows.js';
import { predictRows, type StageSetting } from './expert-stage.js';

/** Fewer sizes of a shape are not dense: the form alone serves them. */
const FEWEST_SIZES = 6;

type Formats = Pick<StageSetting, 'weightDtype' | 'activationDtype'>;

/** A row with its prediction by the form. */
interface Placed {
  row: StageRow;
  predicted: Predicted;
}

/**
 * The stage with what was measured of shapes at six sizes or more of balanced rows: factors on the form. Their
 * accuracy is that of every second size, predicted by its neighbours, and of skewed rows by the factor at their
 * number of rows.
 */
export function withLookups(stage: ExpertStage, rows: readonly StageRow[], formats: Formats): ExpertStage {
  const predicted = predictRows(stage, rows, formats);
  const placed = rows.map((row, i) => ({ row, predicted: predicted[i] }));
  const key = ({ row }: Placed) => [row.hiddenSize, row.expertHiddenSize, row.slots].join();
  const dense = [...groupBy(placed, key).values()].flatMap((own) => {
    const balanced = own.filter(({ row }) => row.balanced).sort((a, b) => a.row.rows - b.row.rows);
    const sizes = new Set(balanced.map(({ row }) => row.rows)).size;
    return sizes >= FEWEST_SIZES ? [{ own, balanced }] : [];
  });
  if (dense.length === 0) return stage;
  const tested = dense.flatMap(({ own, balanced }) => {
    const sizes = [...groupBy(balanced, ({ row }) => row.rows).values()];
    const even = lookupOf(sizes.filter((_, i) => i % 2 === 0).flat());
    const odd = sizes.filter((_, i) => i % 2 === 1).flat();
    return [
      ...odd.map((each) => corrected(each, even)),
      ...own.filter(({ row }) => !row.balanced).map((each) => corrected(each, lookupOf(balanced))),
    ];
  });
  const own = accuracyOf('every second size by its neighbours', tested);
  return {
    ...stage,
    lookups: dense.map(({ balanced }) => lookupOf(balanced)),
    lookupAccuracy: { ...own, skewRange: own.skewRange ?? stage.accuracy?.skewRange ?? null },
  };
}

/** @param balanced by rows */
function lookupOf(balanced: readonly Placed[]): Lookup {
  const { hiddenSize, expertHiddenSize, slots } = balanced[0].row;
  const sizes = [...groupBy(balanced, ({ row }) => row.rows)];
  return {
    hiddenSize,
    expertHiddenSize,
    slots,
    rows: sizes.map(([rows]) => rows),
    factors: sizes.map(([, same]) =>
      mean(same, ({ predicted }) => predicted.measured / predicted.predicted)!,
    ),
  };
}

function corrected({ row, predicted }: Placed, lookup: Lookup): Predicted {
  const factor = lookupFactor(stageLookup(lookup), row.rows);
  return { ...predicted, predicted: factor * predicted.predicted };
}
