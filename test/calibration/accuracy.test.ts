import { randomNormal } from 'd3-random';
import { describe, expect, it } from 'vitest';
import { accuracyOf, type Predicted } from '../../src/calibration/fit/accuracy.js';
import { heldRows, heldSkews } from '../../src/calibration/fit/coverage.js';
import { randomStream } from '../../src/routing/index.js';

/** Rows of shapes whose logarithmic errors are normal: 10 % in common, 5 % each; skewed rows 20 % slower. */
function rows(shapes: number, perShape: number, seed: number): Predicted[] {
  const random = randomStream(seed, 'rows');
  const normal = randomNormal.source(random)(0, 1);
  return Array.from({ length: shapes }, (_, shape) => {
    const shared = 0.1 * normal();
    return Array.from({ length: perShape }, (_, i) => {
      const balanced = i % 2 === 0;
      const error = shared + 0.05 * normal() + (balanced ? 0 : Math.log(1.2));
      return {
        shape: String(shape),
        group: 'all',
        setting: `${shape}/${Math.floor(i / 2)}`,
        balanced,
        predicted: 1,
        measured: Math.exp(error),
      };
    });
  }).flat();
}

describe('accuracyOf', () => {
  it('gives ranges between the 5th and the 95th percentile of measured / predicted', () => {
    // One shape: 0.90, 0.91, … 1.10.
    const own = Array.from({ length: 21 }, (_, i) => ({
      shape: 'one',
      group: 'all',
      predicted: 1,
      measured: 0.9 + i / 100,
    }));
    const { rowRange, sharedRange, skewRange, mape } = accuracyOf('by hand', own);
    expect(rowRange[0]).toBeCloseTo(0.91, 12);
    expect(rowRange[1]).toBeCloseTo(1.09, 12);
    expect(sharedRange).toEqual([1, 1]);
    expect(skewRange).toBeNull();
    expect(mape).toBeCloseTo(own.reduce((sum, { measured }) => sum + Math.abs(1 / measured - 1), 0) / 21, 12);
  });

  it('tells what shapes have in common from what rows have, and skewed rows from balanced ones', () => {
    const { sharedRange, skewRange } = accuracyOf('drawn', rows(400, 40, 1));
    // Shapes' medians lie around √1.2 of the balanced rows'; 1.645 · 10 % to either side.
    const centre = Math.log(1.2) / 2;
    expect(Math.log(sharedRange[0])).toBeCloseTo(centre - 0.1645, 1);
    expect(Math.log(sharedRange[1])).toBeCloseTo(centre + 0.1645, 1);
    const ratio = Math.SQRT2 * 0.05 * 1.645;
    expect(Math.log(skewRange![0])).toBeCloseTo(Math.log(1.2) - ratio, 2);
    expect(Math.log(skewRange![1])).toBeCloseTo(Math.log(1.2) + ratio, 2);
  });
});

describe('coverage', () => {
  it('is about 90 % of rows and ratios of shapes that were not looked at', () => {
    const drawn = rows(60, 40, 2);
    expect(Math.abs(heldRows(drawn) - 0.9)).toBeLessThan(0.05);
    expect(Math.abs(heldSkews(drawn) - 0.9)).toBeLessThan(0.05);
  });

  it('falls where the rows of one shape are unlike those of the others', () => {
    const odd = rows(1, 400, 4).map((row) => ({ ...row, shape: 'odd', measured: 3 * row.measured }));
    // 400 of 800 rows lie where no other shape's do.
    expect(heldRows([...rows(10, 40, 3), ...odd])).toBeLessThanOrEqual(0.5);
  });
});
