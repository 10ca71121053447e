import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import {
  importTable,
  llepPaperGates,
  memoryGates,
  networkGates,
  type Gate,
} from '../../src/calibration/index.js';
import { readText } from '../../src/files/index.js';
import { shared } from '../shared.js';

function documented(text: string, { name, measure, error, unit }: Gate): boolean {
  const value = unit === 'wrong' ? String(error) : `${error.toFixed(2)} ${unit}`;
  return text
    .split('\n')
    .some((line) => line.includes(`| ${name} `) && line.includes(`| ${measure} ${value} `));
}

it('docs/validation.md holds what the paper suites print', async () => {
  const text = (await readFile('docs/validation.md', 'utf8')).replace(/ +/g, ' ');
  for (const gate of [...llepPaperGates(), ...memoryGates()]) {
    expect(documented(text, gate), `${gate.name}: ${gate.measure} ${gate.error}`).toBe(true);
  }
});

it.skipIf(shared === null)('docs/validation.md holds what the network suite prints', async () => {
  const text = (await readFile('docs/validation.md', 'utf8')).replace(/ +/g, ' ');
  const names = [
    'h100_nccl_2.29.2.csv.gz',
    'h100_multinode_wideep_deepep_normal_perf.csv.gz',
    'h100_multinode_wideep_deepep_ll_perf.csv.gz',
  ];
  const tables = await Promise.all(
    names.map(async (file) => importTable(await readText(join(shared!, 'data', file)), { file })),
  );
  const gates = networkGates(tables.flat());
  expect(gates.length).toBeGreaterThan(10);
  for (const gate of gates) expect(documented(text, gate), `${gate.name}: ${gate.error}`).toBe(true);
});
