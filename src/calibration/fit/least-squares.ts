import { Matrix, solve } from 'ml-matrix';

/** A number to be fitted: where it starts and the range in which it has a meaning. */
export interface Parameter {
  start: number;
  min: number;
  max: number;
}

/** Writes a prediction > 0 for every row. */
export type Predict = (values: readonly number[], into: Float64Array) => void;

const STEPS = 60;
const DIFFERENCE = 1e-4;
/** The fit ends when a step lowers the error by a smaller share than this. */
const ENOUGH = 1e-7;

/**
 * Parameters that make `predict` closest to `measured` in the logarithm, so that a microsecond and a second
 * count alike: Levenberg-Marquardt inside the ranges. An error e beyond `tolerance` t counts like its
 * magnitude instead of its square (soft L1, 2 t² (√(1 + e²/t²) − 1)), so that outliers of a noisy table do not
 * steer the fit.
 *
 * @param weights weight of every row
 */
export function fitLog(
  parameters: readonly Parameter[],
  predict: Predict,
  measured: Float64Array,
  weights: Float64Array,
  tolerance = 0.05,
): number[] {
  const rows = measured.length;
  const size = parameters.length;
  const predicted = new Float64Array(rows);
  // Every parameter runs from 0 to 1 over its range, so that one step fits all.
  const scaled = (units: readonly number[]) =>
    parameters.map(({ min, max }, i) => min + units[i] * (max - min));
  const residualsOf = (units: readonly number[], into: Float64Array) => {
    predict(scaled(units), predicted);
    let loss = 0;
    for (let row = 0; row < rows; row++) {
      const error = Math.log(predicted[row] / measured[row]);
      into[row] = error;
      loss += weights[row] * (Math.sqrt(1 + (error / tolerance) ** 2) - 1);
    }
    return loss;
  };

  let units = parameters.map(({ start, min, max }) => (start - min) / (max - min));
  let residuals = new Float64Array(rows);
  let tried = new Float64Array(rows);
  const moved = new Float64Array(rows);
  const jacobian = parameters.map(() => new Float64Array(rows));
  let loss = residualsOf(units, residuals);
  let damping = 1e-3;
  for (let step = 0; step < STEPS; step++) {
    for (let i = 0; i < size; i++) {
      const delta = units[i] + DIFFERENCE > 1 ? -DIFFERENCE : DIFFERENCE;
      residualsOf(
        units.map((unit, j) => (j === i ? unit + delta : unit)),
        moved,
      );
      for (let row = 0; row < rows; row++) jacobian[i][row] = (moved[row] - residuals[row]) / delta;
    }
    const effective = Float64Array.from(
      residuals,
      (error, row) => weights[row] / Math.sqrt(1 + (error / tolerance) ** 2),
    );
    const gradient = jacobian.map((own) => weightedProduct(own, residuals, effective));
    // A parameter at its bound that would leave its range stays there.
    const free = gradient.map((slope, i) => !(units[i] <= 0 && slope > 0) && !(units[i] >= 1 && slope < 0));
    const curvature = jacobian.map((a, i) =>
      jacobian.map((b, j) => (free[i] && free[j] ? weightedProduct(a, b, effective) : 0)),
    );
    const before = loss;
    for (; damping < 1e12; damping *= 10) {
      const system = curvature.map((line, i) =>
        line.map((value, j) => (i === j ? (free[i] ? value * (1 + damping) + 1e-12 : 1) : value)),
      );
      const change = solve(
        new Matrix(system),
        Matrix.columnVector(gradient.map((slope, i) => (free[i] ? slope : 0))),
      );
      const next = units.map((unit, i) => Math.min(1, Math.max(0, unit - change.get(i, 0))));
      const nextLoss = residualsOf(next, tried);
      if (!(nextLoss < loss)) continue;
      units = next;
      [residuals, tried] = [tried, residuals];
      loss = nextLoss;
      damping = Math.max(damping / 10, 1e-9);
      break;
    }
    if (!(loss < before * (1 - ENOUGH))) break;
  }
  return scaled(units);
}

function weightedProduct(a: Float64Array, b: Float64Array, weights: Float64Array): number {
  let sum = 0;
  for (let row = 0; row < a.length; row++) sum += weights[row] * a[row] * b[row];
  return sum;
}
