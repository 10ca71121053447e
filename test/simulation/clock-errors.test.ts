import { describe, expect, it } from 'vitest';
import type { Accuracy } from '../../src/hardware/index.js';
import { clusterPresets, shippedProfiles } from '../../src/hardware/index.js';
import type { Machine, Runtime, TimedKernel } from '../../src/execution/index.js';
import { combinedSpread } from '../../src/metrics/index.js';
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

const stage = {} as TimedKernel['stage'];

/** Seconds of experts, network and host on the critical path. */
const exposure = (
  experts: number,
  network: number,
  host: number,
  other: Partial<Exposure> = {},
): Exposure => ({
  critical: {
    experts,
    copies: 0,
    network,
    movement: 0,
    planning: 0,
    host,
    'attention and dense': 0,
    gradients: 0,
  },
  kernel: { stage, accuracy: kernel },
  quantised: false,
  skew: 1,
  portSkew: 1,
  exchangeBytes: 2 ** 24,
  ...other,
});

/** What a factor on a part, the share `share` of a whole, does to the logarithm of the whole. */
const effect = (share: number, factor: number) => Math.log(share * factor + 1 - share);

describe('errors of a latency', () => {
  it('are what the factor of each source does to the whole', () => {
    const parts = errors.ofLatency(exposure(6, 3, 1));
    expect(parts.map(({ source, basis }) => `${source} ${basis}`)).toEqual([
      'experts fitted',
      'network fitted',
      'host assumed',
    ]);
    // √(0.3² + 0.4²) = 0.5 on six tenths of the time.
    expect(parts[0].spread.below).toBeCloseTo(-effect(0.6, Math.exp(-0.5)), 12);
    expect(parts[0].spread.above).toBeCloseTo(effect(0.6, Math.exp(0.5)), 12);
    expect(parts[1].spread.below).toBeCloseTo(-effect(0.3, 0.9), 12);
    // Twice the host's tenth: 1.1 times the whole.
    expect(parts[2].spread.above).toBeCloseTo(Math.log(1.1), 12);
  });

  it('say that skewed traffic was never measured, the more the more it is skewed', () => {
    const at = (portSkew: number) =>
      errors.ofLatency(exposure(5, 5, 0, { portSkew })).find(({ source }) => source === 'skewed traffic');
    expect(at(1)).toBeUndefined();
    expect(at(1.5)!.basis).toBe('unvalidated');
    expect(at(1.5)!.spread.above).toBeCloseTo(effect(0.5, Math.sqrt(1.5)), 12);
    expect(at(7)!.spread.above).toBeCloseTo(effect(0.5, 1.5), 12);
  });

  it('assume what no measurement reaches: kernels without one, small exchanges, quantised experts', () => {
    const basisOf = (source: string, other: Partial<Exposure>) =>
      errors.ofLatency(exposure(5, 5, 0, other)).find((part) => part.source === source)!.basis;
    expect(basisOf('experts', { kernel: { stage, accuracy: undefined } })).toBe('assumed');
    expect(basisOf('experts', { quantised: true })).toBe('assumed');
    expect(basisOf('network', { exchangeBytes: 2 ** 19 })).toBe('assumed');
    expect(basisOf('network', { exchangeBytes: 2 ** 21 })).toBe('fitted');
  });

  it('are none where nothing takes time', () => {
    expect(errors.ofLatency(exposure(0, 0, 0))).toEqual([]);
  });
});

describe('errors of a ratio', () => {
  const spreadOfRatio = (a: Exposure, b: Exposure) => combinedSpread(errors.ofRatio(a, b));

  it('vanish for two policies that do the same', () => {
    const same = exposure(6, 3, 1, { portSkew: 3, skew: 2 });
    expect(spreadOfRatio(same, same)).toEqual({ below: 0, above: 0 });
  });

  it('keep what unequal work errs unequally, and turn round with the ratio', () => {
    // Shares are equal, so that all common factors cancel; the first one is more skewed and takes twice as long.
    const [skewed, even] = [exposure(6, 3, 1, { skew: 2 }), exposure(3, 1.5, 0.5)];
    const spread = spreadOfRatio(skewed, even);
    expect(spread.below).toBeCloseTo(-effect(0.6, Math.exp(-0.1)), 12);
    expect(spread.above).toBeCloseTo(effect(0.6, Math.exp(0.2)), 12);
    const turned = spreadOfRatio(even, skewed);
    expect(turned.below).toBeCloseTo(spread.above, 12);
    expect(turned.above).toBeCloseTo(spread.below, 12);
  });

  it('may err to either side where the more skewed work takes less time, as in decode', () => {
    const spread = spreadOfRatio(exposure(3, 1.5, 0.5, { skew: 2 }), exposure(6, 3, 1));
    expect(spread.below).toBeCloseTo(spread.above, 1);
    expect(spread.below).toBeGreaterThan(-effect(0.6, Math.exp(-0.1)));
  });

  it('count a common factor by the difference of what it does', () => {
    const [experts, , , , , host] = [0, 1, 2, 3, 4, 5].map(
      (i) => errors.ofRatio(exposure(4, 0, 6), exposure(4, 0, 0))[i],
    );
    // All of the other one's time is experts, four tenths of this one's: the same kernels, so nothing else.
    expect(experts.above).toBeCloseTo(effect(0.4, Math.exp(-0.5)) + 0.5, 12);
    expect(experts.below).toBeCloseTo(0.5 - effect(0.4, Math.exp(0.5)), 12);
    expect(host.above).toBeCloseTo(Math.log(1.6), 12);
  });

  it('of two kernels that were not measured together holds the errors of both', () => {
    const other = { stage: {} as TimedKernel['stage'], accuracy: undefined };
    const spread = spreadOfRatio(exposure(8, 0, 2), exposure(8, 0, 2, { kernel: other }));
    expect(spread.above).toBeCloseTo(Math.hypot(effect(0.8, Math.exp(0.5)), -effect(0.8, 0.8)), 12);
    expect(spread.below).toBeCloseTo(Math.hypot(-effect(0.8, Math.exp(-0.5)), effect(0.8, 4)), 12);
  });
});
