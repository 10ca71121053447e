import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { profileSchema } from '../../src/hardware/index.js';
import { epsim, workFolder } from './epsim.js';

const folder = workFolder();

function measurements(name: string, count: number, kind: string): string {
  const rows = Array.from({ length: count }, (_, i) => ({
    kernel: 'NCCL',
    spread: null,
    repeats: 20,
    op: 'collective',
    collective: 'all-to-all',
    gpus: [2, 4, 8][i % 3],
    gpusPerNode: 8,
    bytes: 2 ** (20 + Math.floor(i / 3)),
    seconds: 1e-5 + 2 ** (20 + Math.floor(i / 3)) / 3e11,
  }));
  const file = join(folder, name);
  writeFileSync(
    file,
    JSON.stringify({
      schema: 'epsim/measurements@1',
      source: { name: 'made up', version: '1', licence: 'own' },
      device: { name: 'NVIDIA H100', kind },
      software: {},
      rows,
    }),
  );
  return file;
}

function fit(file: string, out: string) {
  return epsim(['calibrate', 'fit', file, '--base', 'h100', '--name', 'mine', '--out', join(folder, out)]);
}

describe('epsim calibrate fit and show', () => {
  it('write a profile that a scenario can use, and print it', () => {
    const { status, stdout } = fit(measurements('m.json', 30, 'gpu'), 'p.json');
    expect(status).toBe(0);
    const profile = profileSchema.parse(JSON.parse(readFileSync(join(folder, 'p.json'), 'utf8')));
    expect(profile.nvlink.accuracy!.rows).toBe(30);
    expect(epsim(['calibrate', 'show', join(folder, 'p.json')]).stdout).toBe(stdout);
    const scenario = join(folder, 's.json');
    epsim(['init', scenario]);
    const args = ['--set', 'cluster.gpu=h100', '--set', `cluster.profile=${join(folder, 'p.json')}`];
    const run = epsim(['run', scenario, ...args, '--set', 'workload.steps=2']);
    expect(run.stdout).toContain('profile mine');
  });

  it('a profile that was timed without a GPU is refused for predictions, unless forced', () => {
    fit(measurements('software.json', 30, 'software'), 'software-profile.json');
    const scenario = join(folder, 'software-scenario.json');
    epsim(['init', scenario]);
    const profile = join(folder, 'software-profile.json');
    const args = ['run', scenario, '--set', 'cluster.gpu=h100', '--set', `cluster.profile=${profile}`];
    const refused = epsim([...args, '--set', 'workload.steps=2']);
    expect(refused.status).toBe(2);
    expect(refused.stderr).toContain('cluster.profile: found mine, timed without a GPU');
    const forced = epsim([
      ...args,
      '--set',
      'workload.steps=2',
      '--set',
      'cluster.forceSoftwareProfile=true',
    ]);
    expect(forced.status).toBe(0);
    expect(forced.stdout).toContain('its seconds mean nothing');
  });

  it('refuses too few rows with exit 2 and writes nothing', () => {
    const { status, stderr } = fit(measurements('few.json', 3, 'gpu'), 'none.json');
    expect([status, existsSync(join(folder, 'none.json'))]).toEqual([2, false]);
    expect(stderr).toContain('too few of a kind for a fit');
  });
});

describe('epsim validate', () => {
  it('prints the gates of the suites that need no data', () => {
    const { status, stdout } = epsim(['validate', '--suite', 'memory']);
    expect(stdout).toContain('All gates are met.');
    expect(status).toBe(0);
  });

  it('says which tables are missing, exit 2', () => {
    const { status, stderr } = epsim(['validate', '--suite', 'network', '--data', folder]);
    expect(status).toBe(2);
    expect(stderr).toContain('found no h100_nccl_2.29.2.csv.gz');
  });
});
