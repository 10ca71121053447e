import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { epsim, small, workFolder, writeJson } from './epsim.js';

const folder = workFolder();
/** One hot expert on large experts, where moving work pays, and a small batch, where it does not. */
const file = writeJson(folder, 'scenario.json', {
  ...small,
  model: 'gpt-oss-120b',
  cluster: { gpu: 'h200', gpus: 8 },
  runtime: 'llep-reference',
  workload: { ...small.workload, tokensPerGpu: 32768, routing: { kind: 'log-normal', sigma: 1.5 } },
});

interface Found {
  tried: number;
  finalists: { setting: Record<string, number>; onFront: boolean }[];
  recommended: { setting: Record<string, number>; speedup: { mean: number; low: number } } | null;
  batches: { tokensPerGpu: number; speedup: { mean: number; low: number; high: number } }[];
}

const over = ['--over', 'alpha=1,2', '--over', 'imbalanceThreshold=1.3,4'];
const tune = (...args: string[]) =>
  epsim(['tune', file, '--policy', 'llep', '--seeds', '3', ...over, ...args, '--out', join(folder, 'out')]);

describe('epsim tune', () => {
  it('finds what is published of LLEP: α of 1, a low λ at a large batch, a high one at a small batch', () => {
    const large = tune('--format', 'json', '--jobs', '2');
    expect(large.status).toBe(0);
    const found = JSON.parse(large.stdout) as Found;
    expect(found.tried).toBe(4);
    expect(found.recommended!.setting).toEqual({ alpha: 1, imbalanceThreshold: 1.3 });
    expect(found.recommended!.speedup.low).toBeGreaterThan(1.1);
    const [fewest] = found.batches;
    expect([fewest.tokensPerGpu, fewest.speedup.high < 1]).toEqual([512, true]);
    // What is there is not computed again, and says the same, whatever the number of jobs
    expect(tune('--format', 'json', '--jobs', '1').stdout).toBe(large.stdout);

    const text = tune('--set', 'workload.tokensPerGpu=512', '--no-break-even').stdout.trimEnd().split('\n');
    expect(text[0]).toBe('llep: 4 settings; 4 on 3 steps × 3 seeds');
    expect(text.at(-1)).toBe(
      'Stay with ep here: with the best setting (alpha 1, imbalanceThreshold 4) the gate of llep leaves every layer to plain EP.',
    );
  });

  it('reaches options inside a rule, and draws the last round', () => {
    const drawn = join(folder, 'front.svg');
    const args = ['--over', 'placement.slots=128,136', '--minimise', 'step,peak-memory', '--no-break-even'];
    const { status, stdout } = epsim([
      ...['tune', file, '--policy', 'eplb', '--seeds', '1', ...args, '--plot', drawn],
      ...['--out', join(folder, 'out'), '--format', 'json'],
    ]);
    expect(status).toBe(0);
    const { finalists } = JSON.parse(stdout) as Found;
    expect(finalists.map(({ setting }) => setting['placement.slots']).sort()).toEqual([128, 136]);
    expect(readFileSync(drawn, 'utf8')).toMatch(/^<svg[^]*the last round of the search/);
  });

  it.each([
    [
      ['--slo', 'tpot=30ms'],
      '--slo: found a limit or a rate of a whole model, allowed: what one MoE layer knows',
    ],
    [['--maximise', 'tokens-per-second-per-gpu'], '--maximise: found a limit or a rate of a whole model'],
    [
      ['--minimise', 'speed'],
      "--minimise: found 'speed', allowed: step, p99, max, peak-memory, weights, loss",
    ],
    [['--over', 'alpha'], "--over: found 'alpha', allowed: option=value,value"],
    [['--plot', 'front.png'], '--plot: found front.png, allowed: a file .svg or .html'],
    [['--over', 'alfa=1'], "--over: alfa: found unknown key 'alfa', allowed: kind, alpha"],
    [['--over', 'alpha=0'], '--over: alpha: found 0, allowed: a number > 0'],
  ])('%j is refused', (args, message) => {
    const { status, stderr } = tune(...args);
    expect([status, stderr]).toEqual([2, expect.stringContaining(message)]);
  });
});
