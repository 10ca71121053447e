import { describe, expect, it } from 'vitest';
import {
  dataGradientSeconds,
  findProfile,
  findStage,
  gradientStageCost,
  stageSeconds,
  weightGradientSeconds,
} from '../../src/hardware/index.js';

const shape = { hiddenSize: 100, expertHiddenSize: 50, weightDtype: 'bf16' } as const;
const profile = findProfile('h200');
const stage = {
  ...findStage(profile, shape, 'fused', 'serving'),
  launchSeconds: 0.5,
  perHiddenElementSeconds: 0,
  perSlotSeconds: 0,
  perActiveExpertSeconds: 0.25,
  rowRounding: 16,
  columnRounding: 1,
  flopPerSecond: 1e6,
  weightBytesPerSecond: 1e6,
  softMaxExponent: 1,
  activationBytesPerSecond: 1e6,
  hiddenWidths: 2,
  expertHiddenWidths: 6,
  inputWidths: 0,
  perChoiceSeconds: 0,
  lookups: [],
};
const cost = gradientStageCost(stage, shape, 2);
/** Two experts of 10 rows, each rounded up to 16. */
const load = { roundedRows: 32, active: 2, borrowed: 0, rows: 20, slots: 2 };

describe('backward products of the expert stage', () => {
  it('gradient of the data: as many FLOP and weights as forward, and more between the products', () => {
    // 30,000 FLOP per row, 30,000 bytes of weights per expert, (2 · 100 + 8 · 50) elements of 2 bytes per row.
    const expected = 0.5 + 2 * 0.25 + 32 * 0.03 + 2 * 0.03 + 20 * 600 * 2e-6;
    expect(dataGradientSeconds(cost, load)).toBeCloseTo(expected, 12);
    const forward = stageSeconds(cost.forward, load.roundedRows, load.active, load.rows, load.slots);
    expect(dataGradientSeconds(cost, load) - forward).toBeCloseTo(20 * 100 * 2e-6, 12);
  });

  it('gradient of the weights: own ones are added to what is there, borrowed ones are written', () => {
    const rest = 0.5 + 2 * 0.25 + 32 * 0.03 + 20 * 350 * 2e-6;
    const [own, sent] = [60_000, 30_000];
    expect(weightGradientSeconds(cost, load, own, sent)).toBeCloseTo(rest + 2 * 2 * 0.06, 12);
    expect(weightGradientSeconds(cost, { ...load, borrowed: 1 }, own, sent)).toBeCloseTo(
      rest + 2 * 0.06 + 0.03,
      12,
    );
  });

  it('few rows do not make it cheap: the gradients of an expert are written however few there are', () => {
    const real = { hiddenSize: 2880, expertHiddenSize: 2880, weightDtype: 'bf16' } as const;
    const measured = gradientStageCost(findStage(profile, real, 'fused', 'serving'), real, 4);
    const bytes = 3 * 2880 * 2880 * 4;
    const of = (rows: number) => {
      const all = { roundedRows: 4 * rows, active: 4, borrowed: 0, rows: 4 * rows, slots: 4 };
      return [weightGradientSeconds(measured, all, bytes, bytes), dataGradientSeconds(measured, all)];
    };
    const [small, large] = [of(128), of(16_384)];
    // At 128 rows it takes twice as long as the product that has as many FLOP; at 16,384 about as long.
    expect(small[0] / small[1]).toBeGreaterThan(2);
    expect(large[0] / large[1]).toBeLessThan(1.1);
  });

  it('nothing to compute takes no time', () => {
    const none = { roundedRows: 0, active: 0, borrowed: 0, rows: 0, slots: 2 };
    expect([dataGradientSeconds(cost, none), weightGradientSeconds(cost, none, 1, 1)]).toEqual([0, 0]);
  });
});
