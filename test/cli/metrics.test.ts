/** `epsim run --metrics`: every definition of balance, on the scenario that is worked out on paper. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Result } from '../../src/index.js';
import { epsim, workFolder } from './epsim.js';

const folder = workFolder();
const hand = 'test/golden/hand-scenario.json';

describe('epsim run --metrics', () => {
  it('shows metrics side by side, each with its formula and who prints it', () => {
    const { status, stdout, stderr } = epsim(['run', hand, '--metrics']);
    expect([status, stderr]).toEqual([0, '']);
    // GPU 0 has 12 copies and GPU 1 has 8, in every step; LLEP levels them. Mean 10.
    expect(stdout).toMatch(/^ {2}max\/mean \(γ\) +1\.200 \/ 1\.200 +1\.200 \/ 1\.200 +1\.000 \/ 1\.000/m);
    expect(stdout).toMatch(/^ {2}balancedness, vLLM log +0\.833 \/ 0\.833/m);
    expect(stdout).toMatch(/^ {2}min\/max +0\.667 \/ 0\.667/m);
    expect(stdout).toContain(
      'balancedness, vLLM log: Σ over layers of mean(x) / Σ over layers of max(x); 1 is even. Used by vLLM',
    );
    expect(epsim(['run', hand]).stdout).not.toContain('Balance of GPUs');
  });

  it('has them in JSON, before and after, at GPU and expert level', () => {
    const result = JSON.parse(
      epsim(['run', hand, '--metrics', '--window', '2', '--format', 'json']).stdout,
    ) as Result;
    const { before, policies, window, metrics } = result.balance!;
    expect(window).toBe(2);
    expect(metrics.find(({ key }) => key === 'gini')!.formula).toContain('|xᵢ − xⱼ|');
    expect(before.gpu.steps.imbalanceRatio).toBeCloseTo(0.2, 12);
    expect(before.expert.steps.gini).toBeCloseTo(4 / (4 * 10), 12);
    const llep = policies.find(({ policy }) => policy.startsWith('llep'))!;
    expect(llep.gpu.windows!.maxOverMean).toBe(1);
    // Ten copies of expert 0 stay, two go to GPU 1, beside its eight of expert 1: 10, 2 and 8, mean 20/3.
    expect(llep.instance.steps.maxOverMean).toBeCloseTo(1.5, 12);
    expect(llep.instance.windows).toBeNull();
    expect(llep.activeInstances).toEqual({ mean: 1.5, largest: 2 });
    // Each GPU sends four copies of ten to the other one.
    expect(llep.awayShare).toBeCloseTo(0.4, 12);
  });

  it('adds them to steps.csv, layer by layer', () => {
    epsim(['run', hand, '--policy', 'ep', '--metrics', '--out', folder]);
    const [kept] = readdirSync(folder);
    const [head, first] = readFileSync(join(folder, kept, 'steps.csv'), 'utf8').split('\n');
    const at = head.split(',').indexOf('at home: gpu maxOverMean');
    expect(Number(first.split(',')[at])).toBeCloseTo(1.2, 12);
    expect(head).toContain('ep: instance gini');
  });

  it.each([
    [['--window', '2'], '--window: found it without --metrics, allowed: --metrics --window 2'],
    [['--metrics', '--window', '0'], "--window: found '0', allowed: a whole number ≥ 1"],
  ])('refuses %j', (args, message) => {
    const { status, stdout, stderr } = epsim(['run', hand, ...args]);
    expect([status, stdout, stderr.trim()]).toEqual([2, '', message]);
  });
});
