import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { measurementsSchema } from '../../src/calibration/index.js';
import { fakePython, greeting } from '../measure/fake-tool.js';
import { epsim, root, workFolder, writeJson } from './epsim.js';

const folder = workFolder();
const measure = (...args: string[]) => epsim(['calibrate', 'measure', '--backend', 'torch', ...args]);

/** A command that must be refused with one message and exit code 2. */
function refuse(...args: string[]): string {
  const { status, stdout, stderr } = measure(...args);
  expect([status, stdout]).toEqual([2, '']);
  expect(stderr).not.toContain('    at ');
  return stderr.trim();
}

describe('epsim calibrate measure', () => {
  it('lists what it would time and how long, and touches nothing', () => {
    const python = join(folder, 'nowhere');
    const { status, stdout, stderr } = measure('--list', '--python', python);
    expect([status, stderr]).toEqual([0, '']);
    const lines = stdout.trimEnd().split('\n');
    expect(lines.at(-1)).toMatch(/^5\d\d cases, about \d\.\d minutes on a data-centre GPU$/);
    expect(lines[0]).toBe('launch');
    expect(stdout).toContain(
      'expert-stage fused, 7168 × 2048, fp8 × fp8, 2048 rows on 32 of 32 experts, balanced',
    );
    expect(lines).toHaveLength(1 + Number(lines.at(-1)!.split(' ')[0]));
  });

  it('lists windows of a recording', () => {
    const trace = join(root, 'traces/quickstart.parquet');
    expect(measure('--list', '--plan', 'tiny', '--trace', trace).stdout).toMatch(
      /experts, trace, layer \d+, tokens/,
    );
    expect(refuse('--list', '--trace', join(folder, 'nowhere'))).toContain('found no recording there');
  });

  it('writes a file, and reports what was refused', () => {
    const out = join(folder, 'm.json');
    const python = fakePython(folder, 'python', 'return { row };');
    const { status, stdout, stderr } = measure('--plan', 'tiny', '--out', out, '--python', python);
    expect([status, stdout]).toEqual([0, '']);
    expect(stderr).toBe(
      `${out}: a fake (gpu), 27 cases timed, 0 there before, 1 refused\n` +
        '* 1 refused: no fused product of fp8 works here\n',
    );
    const { rows, source, device } = measurementsSchema.parse(JSON.parse(readFileSync(out, 'utf8')));
    expect([rows.length, source.licence, device]).toEqual([27, 'own', greeting.device]);
    const { stderr: again } = epsim(
      ['calibrate', 'measure', '--backend', 'torch', '--plan', 'tiny', '--out', out],
      { env: { EPSIM_PYTHON: python } },
    );
    expect(again).toContain('0 cases timed, 27 there before');
  });

  it('exits with 1 where the device failed, with the rows that it has', () => {
    const out = join(folder, 'failed.json');
    const answer = `return request.case.op === 'launch' ? { error: 'a fault' } : { row };`;
    const { status, stderr } = measure(
      '--plan',
      'tiny',
      '--out',
      out,
      '--python',
      fakePython(folder, 'faulty', answer),
    );
    expect(status).toBe(1);
    expect(stderr).toContain('* failed: launch: a fault');
    expect(stderr).toContain(`1 cases are left: the same command again goes on with ${out}`);
    expect(stderr).not.toContain('    at ');
    expect(existsSync(out)).toBe(true);
  });

  it('exits with 2 where there is nothing to measure with', () => {
    const out = join(folder, 'none.json');
    const python = join(folder, 'nowhere/python3');
    expect(refuse('--out', out, '--python', python)).toBe(
      `${python}: it cannot be started, no such program. The torch backend needs Python with PyTorch: install it (pip ` +
        "install torch, or Debian's python3-torch), or name an interpreter that has it with --python or EPSIM_PYTHON.",
    );
    expect(existsSync(out)).toBe(false);
  });

  it('exits with 2 for a file that it cannot go on with', () => {
    const python = fakePython(folder, 'python', 'return { row };');
    const out = writeJson(folder, 'other.json', '{"schema":"epsim/result@1"}');
    expect(refuse('--plan', 'tiny', '--out', out, '--python', python)).toContain(
      `${out}: schema: found no measurements`,
    );
    expect(readFileSync(out, 'utf8')).toBe('{"schema":"epsim/result@1"}');
  });

  it('exits with 2 for bad usage', () => {
    expect(refuse()).toContain('--out: found nothing');
    expect(refuse('--out', 'x', '--plan', 'huge')).toContain('Allowed choices are full, quick, tiny');
    expect(epsim(['calibrate', 'measure', '--out', 'x']).status).toBe(2);
    expect(epsim(['calibrate', 'measure', '--backend', 'abacus', '--list']).status).toBe(2);
    expect(epsim(['calibrate']).status).toBe(2);
  });
});
