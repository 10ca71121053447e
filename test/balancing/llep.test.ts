import { fc, test } from '@fast-check/vitest';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { planLayer } from '../../src/balancing/index.js';
import { literalLlep } from './literal-llep.js';

interface Assignment {
  name: string;
  P: number;
  N: number;
  alpha: number;
  m: number;
  loads: number[];
  slices: unknown;
  transfers: unknown;
  gpuLoads: number[];
  gpuImbalanceRatio: number;
  useLlepAtLambda1_3: boolean;
  expertLevelTriggerAtLambda1_3: boolean;
}

interface Dispatch {
  name: string;
  P: number;
  N: number;
  alpha: number;
  m: number;
  countsByRank: number[][];
  slices: unknown;
  sendMatrix: number[][];
  gpuLoads: number[];
}

const oracle = JSON.parse(readFileSync(new URL('../oracles/llep.json', import.meta.url), 'utf8')) as {
  assignment: Assignment[];
  dispatch: Dispatch[];
};

const named = <T extends { name: string }>(cases: T[]) => cases.map((c) => [c.name, c] as const);

describe('LLEP equals the official code (LeastLoadedEP @ 0349746, executed)', () => {
  it.each(named(oracle.assignment))('plans %s', (_, v) => {
    const plan = planLayer(
      { kind: 'llep', alpha: v.alpha, minTokensPerGemm: v.m, imbalanceThreshold: 0 },
      { gpus: v.P, experts: v.N, loads: v.loads },
    );
    expect(plan.slices).toEqual(v.slices);
    expect(plan.transfers).toEqual(v.transfers);
    expect(plan.gpuLoads).toEqual(v.gpuLoads);
  });

  it.each(named(oracle.assignment))('gates %s as it does', (_, v) => {
    const gated = (gate: 'gpu' | 'expert') =>
      planLayer({ kind: 'llep', gate }, { gpus: v.P, experts: v.N, loads: v.loads }).gated;
    expect(gated('gpu')).toBe(!v.useLlepAtLambda1_3);
    expect(gated('expert')).toBe(!v.expertLevelTriggerAtLambda1_3);
  });

  it.each(named(oracle.dispatch))('sends %s', (_, v) => {
    const plan = planLayer(
      { kind: 'llep', alpha: v.alpha, minTokensPerGemm: v.m, imbalanceThreshold: 0 },
      { gpus: v.P, experts: v.N, counts: v.countsByRank },
    );
    expect(plan.slices).toEqual(v.slices);
    expect(plan.sendMatrix).toEqual(v.sendMatrix);
    expect(plan.gpuLoads).toEqual(v.gpuLoads);
  });
});

const loadsArbitrary = fc
  .constantFrom([1, 3], [2, 4], [3, 6], [4, 8], [8, 32], [16, 64])
  .chain(([gpus, experts]) =>
    fc.record({
      gpus: fc.constant(gpus),
      loads: fc.array(
        fc.oneof(fc.nat(20), fc.nat(3000), fc.constant(0), fc.integer({ min: 5000, max: 90_000 })),
        { minLength: experts, maxLength: experts },
      ),
      alpha: fc.constantFrom(0.8, 1, 1.05, 1.1, 1.5, 2),
      m: fc.constantFrom(1, 2, 30, 256, 1024, 4096),
    }),
  );

describe('LLEP equals its own description', () => {
  test.prop([loadsArbitrary, fc.constantFrom('code' as const, 'paper' as const)], { numRuns: 3000 })(
    'for any loads, in both variants',
    ({ gpus, loads, alpha, m }, variant) => {
      const plan = planLayer(
        { kind: 'llep', alpha, minTokensPerGemm: m, imbalanceThreshold: 0, variant },
        { gpus, experts: loads.length, loads },
      );
      const literal = literalLlep(loads, gpus, alpha, m, variant);
      expect(plan.slices).toEqual(literal.slices);
      expect(plan.transfers).toEqual(literal.transfers);
      expect(plan.gpuLoads).toEqual(literal.gpuLoads);
    },
  );

  test.prop([loadsArbitrary], { numRuns: 500 })(
    'with helpers in the node only',
    ({ gpus, loads, alpha, m }) => {
      const gpusPerNode = Math.max(1, gpus / 2);
      fc.pre(Number.isInteger(gpusPerNode));
      const plan = planLayer(
        { kind: 'llep', alpha, minTokensPerGemm: m, imbalanceThreshold: 0, helpers: 'intra-node' },
        { gpus, gpusPerNode, experts: loads.length, loads },
      );
      const near = (a: number, b: number) => Math.floor(a / gpusPerNode) === Math.floor(b / gpusPerNode);
      const literal = literalLlep(loads, gpus, alpha, m, 'code', near);
      expect(plan.slices).toEqual(literal.slices);
      expect(plan.transfers).toEqual(literal.transfers);
      plan.transfers.forEach(({ src, dst }) => expect(near(src, dst)).toBe(true));
    },
  );

  it('runs LLEP when the ratio equals the threshold, and EP below it', () => {
    // GPU loads 26 and 14: max/mean is 1.3 in float32, which is a little above 1.3.
    const gated = (imbalanceThreshold: number) =>
      planLayer({ kind: 'llep', imbalanceThreshold }, { gpus: 2, experts: 2, loads: [26, 14] }).gated;
    expect(gated(Math.fround(1.3))).toBe(false);
    expect(gated(1.31)).toBe(true);
  });
});
