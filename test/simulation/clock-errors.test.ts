import { describe, expect, it } from 'vitest';
import type { Accuracy } from '../../src/hardware/index.js';
import { clusterPresets, shippedProfiles } from '../../src/hardware/index.js';
import type { Machine, Runtime } from '../../src/execution/index.js';
import { ClockErrors, type Exposure } from '../../src/simulation/clock-errors.js';

const kernel: Accuracy = {
  how: 'made up',
  rows: 100,
  mape: 0.1,
  median: 0.1,
  bias: 0,
  sharedRange: [Math.exp(-0.3), Math.exp(0.3)],
  rowRange: [Math.exp(-0.4), Math.exp(0.4)],
  skewRange: [Math.exp(-0.1), Math.exp(0.2)],
  groups: [],
};

const profile = {
  ...shippedProfiles[0],
  nvlink: {
    ...shippedProfiles[0].nvlink,
    accuracy: {
      ...kernel,
      sharedRange: [1, 1] as [number, number],
      rowRange: [0.9, 1.1] as [number, number],
    },
  },
};
const machine = {
  cluster: { ...clusterPresets['8xh100'], profile, gpus: 8, gpusPerNode: 8 },
} as unknown as Machine;
const errors = new ClockErrors(machine, {
  hostAccuracy: { range: [0.5, 2], basis: 'assumed' },
} as unknown as Runtime);

const exposure = (experts: number, network: number, host: number, portSkew = 1): Exposure => ({
  critical: { experts, copies: 0, network, host },
  kernel,
  portSkew,
});

describe('errors of a latency', () => {
  it('are those of each source, to the power of its share of the critical path', () => {
    const parts = errors.ofLatency(exposure(6, 3, 1));
    // √(0.3² + 0.4²) = 0.5, of which six tenths.
    expect(parts.map(({ source, basis }) => `${source} ${basis}`)).toEqual([
      'experts fitted',
      'network fitted',
      'host assumed',
    ]);
    expect(parts[0].spread.below).toBeCloseTo(0.3, 12);
    expect(parts[1].spread.below).toBeCloseTo(-0.3 * Math.log(0.9), 12);
    expect(parts[2].spread.above).toBeCloseTo(0.1 * Math.LN2, 12);
  });

  it('say that skewed traffic was never measured, the more the more it is skewed', () => {
    const at = (portSkew: number) =>
      errors.ofLatency(exposure(5, 5, 0, portSkew)).find(({ source }) => source === 'skewed traffic');
    expect(at(1)).toBeUndefined();
    expect(at(1.5)!.basis).toBe('unvalidated');
    expect(at(1.5)!.spread.above).toBeCloseTo(0.5 * 0.5 * Math.log(1.5), 12);
    expect(at(7)!.spread.above).toBeCloseTo(0.5 * Math.log(1.5), 12);
  });
});

describe('errors of a ratio', () => {
  it('vanish for two policies that do the same', () => {
    expect(errors.ofRatio(exposure(6, 3, 1), exposure(6, 3, 1))).toEqual([]);
  });

  it('keep what unequal work errs unequally, and turn round with the ratio', () => {
    // Shares are equal, so that all common factors cancel; the first one's kernels take twice as long.
    const [part, ...others] = errors.ofRatio(exposure(6, 3, 1), exposure(3, 1.5, 0.5));
    expect(others).toEqual([]);
    expect(part.spread.below).toBeCloseTo(0.6 * 0.1, 12);
    expect(part.spread.above).toBeCloseTo(0.6 * 0.2, 12);
    const [turned] = errors.ofRatio(exposure(3, 1.5, 0.5), exposure(6, 3, 1));
    expect(turned.spread).toEqual({ below: part.spread.above, above: part.spread.below });
  });

  it('count a common factor by the difference of its shares', () => {
    const parts = errors.ofRatio(exposure(4, 0, 6), exposure(4, 0, 0));
    const [experts, host] = parts;
    // All of the other one's time is experts, four tenths of this one's: the same kernels, so nothing else.
    expect(experts.spread.below).toBeCloseTo(0.6 * 0.5, 12);
    expect(host.spread.above).toBeCloseTo(0.6 * Math.LN2, 12);
  });
});
