import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { shared } from '../shared.js';
import { epsim, root, small, workFolder, writeJson } from './epsim.js';

const folder = workFolder();

interface Fit {
  closeness: { heldOut: boolean; traits: { name: string; verdict: string; difference: number }[] };
  steps: { recorded: { policies: { stepLatency: { mean: number } }[] } };
}

describe('epsim trace fit', () => {
  const twin = join(folder, 'twin.json');

  it('says how close the twin is, and runs a scenario under recording and twin', () => {
    const { status, stdout, stderr } = epsim([
      'trace',
      'fit',
      join(root, 'traces/quickstart.parquet'),
      '--out',
      twin,
      '--format',
      'json',
    ]);
    expect(stderr).toContain('wrote');
    expect(status).toBe(0);
    const { closeness, steps } = JSON.parse(stdout) as Fit;
    expect(closeness.heldOut).toBe(true);
    // On the half that it was not fitted to: what the project promises within 10 %.
    for (const name of [
      'γ EP 8',
      'Gini expert',
      'in-order: γ EP 8',
      'shuffled: γ EP 8',
      'decode-lockstep: γ EP 8',
    ]) {
      expect(
        closeness.traits.find((trait) => trait.name === name),
        name,
      ).toMatchObject({ verdict: 'within 10 %' });
    }
    expect(steps.recorded.policies.length).toBeGreaterThan(3);
  });

  it('a twin runs like any routing, and scales; one of another model is refused', () => {
    const scenario = (experts: number) =>
      writeJson(folder, `${experts}.json`, {
        ...small,
        model: { ...small.model, experts, topK: 4, moeLayers: 8 },
        workload: {
          phase: 'prefill',
          tokensPerGpu: 64,
          steps: 3,
          layer: 'all',
          routing: { kind: 'twin', path: twin, batching: 'prefill-chunks' },
        },
      });
    const first = epsim(['run', scenario(32), '--format', 'json']);
    expect(first.stderr).toBe('');
    expect(first.stdout).toBe(epsim(['run', scenario(32), '--format', 'json']).stdout);
    expect(first.stdout).toContain('routing of a twin');
    const { status, stderr } = epsim(['run', scenario(16)]);
    expect(status).toBe(2);
    expect(stderr).toMatch(/a twin of .* with experts 32, allowed: a twin of .* with experts 16/);
  });

  it.each([
    [{ schema: 'epsim/twin@1' }, /twin-bad\.json: /],
    [[], /twin-bad\.json: /],
  ])('refuses a file that is no twin %#', (content, message) => {
    const path = writeJson(folder, 'twin-bad.json', content);
    const scenario = writeJson(folder, 'bad.json', {
      ...small,
      workload: { ...small.workload, routing: { kind: 'twin', path } },
    });
    const { status, stderr } = epsim(['run', scenario]);
    expect(status).toBe(2);
    expect(stderr).toMatch(message);
  });

  it('writes nothing where the scenario is wrong', () => {
    const out = join(folder, 'none.json');
    const bad = writeJson(folder, 'wrong.json', { ...small, policies: ['wishful'] });
    const trace = join(root, 'traces/quickstart.parquet');
    expect(epsim(['trace', 'fit', trace, '--out', out, '--scenario', bad]).status).toBe(2);
    expect(existsSync(out)).toBe(false);
  });
});

describe('epsim trace fit of several recordings', () => {
  const trace = join(root, 'traces/quickstart.parquet');

  it('fits one twin to all their sequences, and does not replay them', () => {
    const out = join(folder, 'both.json');
    const { status, stdout } = epsim(['trace', 'fit', trace, trace, '--out', out]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/fitted to 230,400 tokens of 900 sequences/);
    expect(stdout).toContain('step times: several recordings are not replayed as one');
  });

  it('refuses a scenario to replay, and other models', () => {
    const out = join(folder, 'none-of-both.json');
    const scenario = epsim(['trace', 'fit', trace, trace, '--out', out, '--scenario', 'any.json']);
    expect([scenario.status, scenario.stderr]).toEqual([
      2,
      expect.stringContaining('--scenario: found several'),
    ]);
    expect(existsSync(out)).toBe(false);
  });
});

describe.skipIf(shared === null)('a twin of what was recorded of a large model', () => {
  const gpt = ['mmlu_dev', 'mmlu_test', 'mmlu_validation', 'mmlu_pro_validation'];
  // Of 32 experts, EP 32 is one expert on each GPU.
  it.each([
    [
      gpt.map((name) => `gpt-oss-20b/${name}`),
      ['γ EP 8', 'γ expert', 'decode-lockstep: γ EP 8', 'decode-lockstep: γ expert'],
    ],
    [
      ['deepseek-v2-lite/intent'],
      ['γ EP 8', 'γ EP 32', 'decode-lockstep: γ EP 8', 'decode-lockstep: γ EP 32'],
    ],
  ])('is within 10 % on the half that it was not fitted to, whichever that is: %s', (names, levels) => {
    const paths = names.map((name) => `${shared}/traces/${name}`);
    const out = join(folder, 'large.json');
    const { stdout } = epsim(['trace', 'fit', ...paths, '--out', out, '--format', 'json']);
    const { heldOut, traits } = (JSON.parse(stdout) as Fit).closeness;
    expect(heldOut).toBe(true);
    const close = traits.filter(({ verdict }) => verdict === 'within 10 %').map(({ name }) => name);
    for (const name of [
      ...levels,
      'Gini expert',
      'decode-lockstep: variation',
      'decode-lockstep: autocorrelation',
    ]) {
      expect(close, JSON.stringify(traits)).toContain(name);
    }
    expect(traits.filter(({ verdict }) => verdict === 'apart')).toEqual([]);
  });
});

describe.skipIf(shared === null)('the twin of gpt-oss-20b/mmlu_dev', () => {
  it('is close on sequences that it was not fitted to', () => {
    const out = join(folder, 'dev.json');
    const path = `${shared}/traces/gpt-oss-20b/mmlu_dev`;
    const { stdout } = epsim(['trace', 'fit', path, '--out', out, '--format', 'json']);
    const { traits } = (JSON.parse(stdout) as Fit).closeness;
    const close = traits.filter(({ verdict }) => verdict === 'within 10 %').map(({ name }) => name);
    for (const name of [
      'γ EP 8',
      'in-order: γ EP 8',
      'in-order: variation',
      'decode-lockstep: γ EP 8',
      'decode-lockstep: variation',
      'decode-lockstep: autocorrelation',
    ]) {
      expect(close).toContain(name);
    }
    expect(traits.filter(({ verdict }) => verdict === 'apart')).toEqual([]);
  });
});
