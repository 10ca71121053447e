import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { epsim, small, workFolder, writeJson } from './epsim.js';

const folder = workFolder();
const scenario = writeJson(folder, 'scenario.json', {
  ...small,
  workload: { ...small.workload, tokensPerGpu: 64 },
});
const quick = ['routers', 'train', '--scenario', scenario, '--set', 'steps=10', '--set', 'batchSequences=2'];

describe('epsim routers train', () => {
  it('trains, runs the scenario under every router, and keeps traces that replay', () => {
    const out = join(folder, 'kept');
    const { status, stdout, stderr } = epsim([
      ...quick,
      '--objective',
      'none',
      '--objective',
      'lpr:coefficient=0.5',
      '--out',
      out,
    ]);
    expect(stderr).toContain('kept in');
    expect(status).toBe(0);
    for (const text of ['γ expert', 'lpr(coefficient=0.5)', 'llep', 'paper, not simulated: lpr: a Gini']) {
      expect(stdout).toContain(text);
    }
    const [kept] = readdirSync(out);
    expect(readdirSync(join(out, kept)).sort()).toEqual([
      'lab.json',
      'lpr(coefficient=0.5).parquet',
      'none.parquet',
    ]);
    const { entries } = JSON.parse(readFileSync(join(out, kept, 'lab.json'), 'utf8')) as {
      entries: { label: string; result: { policies: { stepLatency: { mean: number } }[] } }[];
    };
    // The kept trace gives the same step times as the lab's own run.
    const replay = writeJson(folder, 'replay.json', {
      ...small,
      workload: {
        phase: 'prefill',
        routing: { kind: 'trace', path: join(out, kept, 'none.parquet') },
      },
    });
    const again = JSON.parse(
      epsim(['run', replay, '--format', 'json']).stdout,
    ) as (typeof entries)[0]['result'];
    expect(again.policies.map((policy) => policy.stepLatency.mean)).toEqual(
      entries[0].result.policies.map((policy) => policy.stepLatency.mean),
    );
  });

  it('is the same again for the same seed', () => {
    const args = [...quick, '--objective', 'alf-lb', '--format', 'json'];
    expect(epsim(args).stdout).toBe(epsim(args).stdout);
  });

  it.each([
    [['--objective', 'wishful'], /--objective: kind: found "wishful", allowed: .*"simbal"/],
    [['--objective', 'switch:alpha=-1'], /--objective: alpha: found -1, allowed: /],
    [['--objective', 'simbal', '--set', 'dimension=4'], /--objective: .*found 8 experts in 4 dimensions/],
    [['--set', 'sequenceTokens=100'], /workload\.tokensPerGpu: found 64, allowed: a multiple/],
    [['--set', 'colour=1'], /--set: .*colour/],
  ])('refuses %j', (args, message) => {
    const { status, stderr } = epsim([...quick, ...args]);
    expect(stderr).toMatch(message);
    expect(status).toBe(2);
  });
});
