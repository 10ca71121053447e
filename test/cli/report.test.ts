import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { epsim, root, small, workFolder, writeJson } from './epsim.js';

describe('epsim report', () => {
  const folder = workFolder();
  const scenario = writeJson(folder, 'small.json', small);

  it('of the folder of all results names those within', () => {
    const out = join(folder, 'results');
    for (const seed of ['1', '2']) {
      expect(epsim(['run', scenario, '--set', `seed=${seed}`, '--out', out]).status).toBe(0);
    }
    const { status, stderr } = epsim(['report', out]);
    expect([status, stderr]).toEqual([
      2,
      `${out}: found a folder of 2 results, allowed: one of them: ` +
        `${readdirSync(out)
          .sort()
          .map((name) => join(out, name))
          .join(', ')}\n`,
    ]);
  });

  it('of a folder with nothing in it says what it wants', () => {
    const empty = join(folder, 'empty');
    mkdirSync(empty);
    const { status, stderr } = epsim(['report', empty]);
    expect([status, stderr]).toEqual([
      2,
      `${empty}: found a folder without result.json, allowed: a folder that epsim run --out wrote, or its result.json\n`,
    ]);
  });
});

describe('a training', () => {
  const folder = workFolder();
  const scenario = join(root, 'scenarios/signs/training-recompute.json');

  it('has a report, with what is known of it', () => {
    const page = join(folder, 'training.html');
    expect(epsim(['run', scenario, '--report', page]).status).toBe(0);
    const html = readFileSync(page, 'utf8');
    expect(html).toContain('class="verdict"');
    expect(html).toContain('id="latency"');
  });

  it('has no timeline, and the message says what there is', () => {
    const file = join(folder, 'training.json');
    const { status, stderr } = epsim(['run', scenario, '--timeline', file]);
    expect(status).toBe(2);
    expect(stderr).toContain(
      '--timeline: found a training (workload.phase), allowed: prefill or decode; --report draws what is known of a training',
    );
    expect(existsSync(file)).toBe(false);
  });
});
