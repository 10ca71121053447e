import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { readMeasurements } from '../../src/calibration/index.js';
import { deepepLowLatency, ncclTests } from '../calibration/import-samples.js';
import { epsim, workFolder } from './epsim.js';

const folder = workFolder();
const out = join(folder, 'm.json');

function write(name: string, content: string | Uint8Array): string {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
}

/** An import that must be refused with one message and exit code 2. */
function refuse(...args: string[]): string {
  const nothing = join(folder, 'none.json');
  const { status, stdout, stderr } = epsim(['calibrate', 'import', '--out', nothing, ...args]);
  expect([status, stdout, existsSync(nothing)]).toEqual([2, '', false]);
  expect(stderr).not.toContain('    at ');
  return stderr.trim();
}

describe('epsim calibrate import', () => {
  const plain = write('nccl.txt', ncclTests());
  const zipped = gzipSync(ncclTests());

  it('writes measurements of plain and of zipped files', () => {
    const file = write('nccl.txt.gz', zipped);
    const { status, stdout, stderr } = epsim(['calibrate', 'import', plain, file, '--out', out]);
    expect([status, stdout]).toEqual([0, '']);
    expect(stderr).toBe(
      `${plain}: 2 rows of NVIDIA H100 80GB HBM3\n${file}: 2 rows of NVIDIA H100 80GB HBM3\n`,
    );
    expect(readMeasurements(JSON.parse(readFileSync(out, 'utf8')), out).rows).toHaveLength(4);
  });

  it('takes from options what a log does not say', () => {
    const log = write('low.log', deepepLowLatency);
    const shape = ['--hidden-size', '7168', '--tokens-per-gpu', '128', '--top-k', '8', '--experts', '288'];
    const place = ['--device', 'NVIDIA H800', '--nodes', '1', '--gpus-per-node', '2'];
    expect(epsim(['calibrate', 'import', log, '--out', out, ...shape, ...place]).status).toBe(0);
    expect(refuse(log, ...place)).toContain('allowed: the option --hidden-size that says it');
    expect(refuse(log, ...shape, '--nodes', '0')).toContain('Allowed: a whole number ≥ 1');
  });

  it('exits with 2 for what it cannot use', () => {
    expect(refuse(write('cut.csv.gz', zipped.subarray(0, zipped.length - 20)))).toContain(
      'cut.csv.gz: found a gzip file that is cut short or damaged',
    );
    expect(refuse(write('empty.csv', ''))).toContain('empty.csv: found an empty file');
    expect(refuse(write('empty.csv.gz', gzipSync('')))).toContain('found an empty file');
    expect(refuse(join(folder, 'nowhere.csv'))).toContain('found no such file or folder');
    expect(refuse(plain, '--as', 'aiconfigurator-moe')).toContain('line 1: found no column framework');
    expect(refuse(plain, '--as', 'xml')).toContain('Allowed choices are');
    const other = write('other.txt', ncclTests().replaceAll('H100', 'H200'));
    expect(refuse(plain, other)).toContain('import files of another device separately');
    expect(refuse()).toContain('files');
  });
});
