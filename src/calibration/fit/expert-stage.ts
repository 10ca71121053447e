import { group as groupBy, rollup } from 'd3-array';
import { stageCost, stageSeconds, type Dtype, type ExpertStage } from '../../hardware/index.js';
import { accuracyOf, type Predicted } from './accuracy.js';
import { TILE_ROWS, type StageRow } from './expert-rows.js';
import { fitLog, type Parameter } from './least-squares.js';

/** What a fit must know of the kernel and the device. */
export interface StageSetting {
  kernel: string;
  stack: ExpertStage['stack'];
  layout: ExpertStage['layout'];
  computeDtype: ExpertStage['computeDtype'];
  weightDtype: Dtype;
  activationDtype: Dtype;
  /** The device's datasheet: no fitted rate may exceed it. */
  flopPerSecond: number;
  memoryBandwidth: number;
}

/**
 * What is fitted, in the order of the vector. Every number has a meaning and a range: rates stay below 80 %
 * (products) and 97 % (weights) of the datasheet, since no kernel has been seen above.
 */
function parametersOf({ flopPerSecond, memoryBandwidth }: StageSetting) {
  return {
    launchSeconds: { start: 15e-6, min: 0, max: 100e-6 },
    perHiddenElementSeconds: { start: 1e-9, min: 0, max: 10e-9 },
    perSlotSeconds: { start: 50e-9, min: 0, max: 1e-6 },
    perActiveExpertSeconds: { start: 100e-9, min: 0, max: 100e-6 },
    flopPerSecond: { start: 0.6 * flopPerSecond, min: 0.05 * flopPerSecond, max: 0.8 * flopPerSecond },
    weightBytesPerSecond: {
      start: 0.85 * memoryBandwidth,
      min: 0.3 * memoryBandwidth,
      max: 0.97 * memoryBandwidth,
    },
    hiddenWidths: { start: 8, min: 0, max: 40 },
    expertHiddenWidths: { start: 8, min: 0, max: 40 },
    inputWidths: { start: 2, min: 0, max: 40 },
    perChoiceSeconds: { start: 0.2e-9, min: 0, max: 20e-9 },
  } satisfies Partial<Record<keyof ExpertStage, Parameter>>;
}

type FittedKey = keyof ReturnType<typeof parametersOf>;

/**
 * Left free, fits end between 2.8 and 3.4, and their error hardly depends on it; 4 takes two square roots
 * instead of powers, which a simulation of many layers notices.
 */
const EXPONENT = 4;

/** Share of the memory bandwidth that activation traffic is counted at; the fitted widths take up the rest. */
const ACTIVATION_SHARE = 0.9;

/** A stage with the fitted numbers. */
function stageOf(setting: StageSetting, values: Record<FittedKey, number>): ExpertStage {
  const { kernel, stack, layout, computeDtype, weightDtype, activationDtype, memoryBandwidth } = setting;
  return {
    kernel,
    stack,
    layout,
    computeDtype,
    weightDtypes: [weightDtype],
    activationDtypes: [activationDtype],
    rowRounding: TILE_ROWS,
    columnRounding: 1,
    softMaxExponent: EXPONENT,
    activationBytesPerSecond: ACTIVATION_SHARE * memoryBandwidth,
    lookups: [],
    ...values,
  };
}

/** Seconds of measured rows by a stage's form, the tokens of a table's batch included. */
export class StagePredictor {
  /** Rows of one shape, and where their predictions go: a shape's cost is worked out once. */
  private readonly shapes: { row: StageRow; at: number }[][];

  constructor(
    rows: readonly StageRow[],
    private readonly setting: Pick<StageSetting, 'weightDtype' | 'activationDtype'>,
  ) {
    const placed = rows.map((row, at) => ({ row, at }));
    const key = ({ row }: { row: StageRow }) => `${row.hiddenSize}×${row.expertHiddenSize}`;
    this.shapes = [...groupBy(placed, key).values()];
  }

  predict(stage: ExpertStage, into: Float64Array): void {
    for (const shape of this.shapes) {
      const cost = stageCost(stage, { ...shape[0].row, ...this.setting });
      // In a run every row enters as a token of its own; here the tokens are counted apart.
      const { inputSecondsPerToken } = cost;
      cost.activationSecondsPerRow -= inputSecondsPerToken + stage.perChoiceSeconds;
      for (const { row, at } of shape) {
        into[at] =
          stageSeconds(cost, row.rounded, row.active, row.rows, row.slots) +
          row.tokens * (inputSecondsPerToken + row.topK * stage.perChoiceSeconds);
      }
    }
  }
}

/**
 * The stage that fits rows best; every shape counts alike, however many rows it has.
 * @throws RangeError where there are fewer rows than numbers to fit
 */
export function fitExpertStage(all: readonly StageRow[], setting: StageSetting): ExpertStage {
  const stride = Math.ceil(all.length / MOST_ROWS);
  const rows = all.filter((_, i) => i % stride === 0);
  const parameters = parametersOf(setting);
  const keys = Object.keys(parameters) as FittedKey[];
  if (rows.length < keys.length) {
    throw new RangeError(`${rows.length} rows, allowed: at least ${keys.length}, one per number to fit`);
  }
  const predictor = new StagePredictor(rows, setting);
  const measured = Float64Array.from(rows, ({ seconds }) => seconds);
  const perShape = rollup(
    rows,
    ({ length }) => length,
    ({ shape }) => shape,
  );
  const weights = Float64Array.from(rows, ({ shape }) => 1 / perShape.get(shape)!);
  const values = fitLog(
    keys.map((key) => parameters[key]),
    (tried, into) => predictor.predict(asStage(tried), into),
    measured,
    weights,
  );
  return asStage(values);

  function asStage(numbers: readonly number[]): ExpertStage {
    const named = Object.fromEntries(keys.map((key, i) => [key, numbers[i]])) as Record<FittedKey, number>;
    return stageOf(setting, named);
  }
}

/** Rows that a fit of a dozen numbers needs at most; of more, every n-th is taken. */
const MOST_ROWS = 4000;

/** Predictions of every row by a fit that has not seen it: on the others' shapes, or on part of the only one. */
export function crossValidate(
  rows: readonly StageRow[],
  setting: StageSetting,
): { how: string; predicted: Predicted[] } {
  const shapes = [...new Set(rows.map(({ shape }) => shape))];
  const parts =
    shapes.length > 1
      ? shapes.map((left) => (row: StageRow) => row.shape === left)
      : [0, 1, 2, 3].map((fold) => (_: StageRow, i: number) => i % 4 === fold);
  return {
    how:
      shapes.length > 1
        ? 'one model shape after another left out'
        : 'every fourth row of the one shape left out',
    predicted: parts.flatMap((isLeft) => {
      const stage = fitExpertStage(
        rows.filter((row, i) => !isLeft(row, i)),
        setting,
      );
      return predictRows(stage, rows.filter(isLeft), setting);
    }),
  };
}

/** Predictions of rows by a stage. */
export function predictRows(
  stage: ExpertStage,
  rows: readonly StageRow[],
  formats: Pick<StageSetting, 'weightDtype' | 'activationDtype'>,
): Predicted[] {
  const predicted = new Float64Array(rows.length);
  new StagePredictor(rows, formats).predict(stage, predicted);
  return rows.map(({ shape, group, series, setting, balanced, seconds }, i) => ({
    shape,
    group,
    series,
    setting,
    balanced,
    predicted: predicted[i],
    measured: seconds,
  }));
}

/** A fitted stage with the accuracy that leaving out one shape after another shows. */
export function calibratedStage(rows: readonly StageRow[], setting: StageSetting): ExpertStage {
  const { how, predicted } = crossValidate(rows, setting);
  return { ...fitExpertStage(rows, setting), accuracy: accuracyOf(how, predicted) };
}
