import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { planLayer } from '../../src/balancing/index.js';

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
