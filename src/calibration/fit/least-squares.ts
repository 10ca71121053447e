import { sum } from 'd3-array';
import { levenbergMarquardt } from 'ml-levenberg-marquardt';

/** A number to be fitted: where it starts and the range in which it has a meaning. */
export interface Parameter {
  start: number;
  min: number;
  max: number;
}

/**
 * Parameters that make `predict` closest to `measured` in the logarithm, so that a microsecond and a second
 * count alike. Errors beyond `tolerance` weigh less and less (soft L1 by re-weighting), so that outliers of a
 * noisy table do not steer the fit.
 *
 * @param predict writes a prediction > 0 for every row
 * @param weights weight of every row
 */
export function fitLog(
  parameters: readonly Parameter[],
  predict: (values: readonly number[], into: Float64Array) => void,
  measured: Float64Array,
  weights: Float64Array,
  tolerance = 0.05,
): number[] {
  const logs = measured.map((seconds) => Math.log(seconds));
  const rows = Array.from(measured, (_, i) => i);
  const predicted = new Float64Array(measured.length);
  // Every parameter runs from 0 to 1 over its range, so that one step fits all.
  const scaled = (units: readonly number[]) =>
    parameters.map(({ min, max }, i) => min + Math.min(1, Math.max(0, units[i])) * (max - min));
  let units = parameters.map(({ start, min, max }) => (start - min) / (max - min));
  for (let round = 0; round < ROUNDS; round++) {
    predict(scaled(units), predicted);
    const robust = Float64Array.from(weights, (weight, i) => {
      const error = (Math.log(predicted[i]) - logs[i]) / tolerance;
      return weight / Math.sqrt(1 + error * error);
    });
    const total = sum(robust);
    const fit = levenbergMarquardt(
      { x: rows, y: logs },
      (tried: number[]) => {
        predict(scaled(tried), predicted);
        const values = Float64Array.from(predicted, Math.log);
        return (row: number) => values[row];
      },
      {
        initialValues: units,
        minValues: units.map(() => 0),
        maxValues: units.map(() => 1),
        // The library squares them; its damping is meant for a sum of about 1
        weights: Array.from(robust, (weight) => Math.sqrt(weight / total)),
        damping: 0.01,
        gradientDifference: 1e-4,
        maxIterations: ITERATIONS,
        errorTolerance: 1e-9,
      },
    );
    units = fit.parameterValues;
  }
  return scaled(units);
}

const ROUNDS = 2;
const ITERATIONS = 20;
