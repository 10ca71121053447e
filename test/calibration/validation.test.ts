import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import {
  breakEvenTokens,
  importTable,
  kernelGates,
  leaveOneFigureOutGates,
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
  expect(text).toContain(
    `from ${breakEvenTokens('llep-reference')} tokens per GPU with llep-reference, ` +
      `from ${breakEvenTokens('llep-engineered')} with llep-engineered`,
  );
  for (const gate of [...llepPaperGates(), ...leaveOneFigureOutGates(), ...memoryGates()]) {
    expect(documented(text, gate), `${gate.name}: ${gate.measure} ${gate.error}`).toBe(true);
  }
}, 600_000);

const NETWORK = [
  'h100_nccl_2.29.2.csv.gz',
  'h100_multinode_wideep_deepep_normal_perf.csv.gz',
  'h100_multinode_wideep_deepep_ll_perf.csv.gz',
];
const KERNELS = ['moe_h100_trtllm_1.3.0rc20_cutlass.csv.gz', 'moe_h100_vllm_0.24.0.csv.gz'];

it.skipIf(shared === null).each([
  ['network', NETWORK, networkGates],
  ['kernels', KERNELS, kernelGates],
] as const)(
  'docs/validation.md holds what the %s suite prints',
  async (_, names, gatesOf) => {
    const text = (await readFile('docs/validation.md', 'utf8')).replace(/ +/g, ' ');
    const tables = await Promise.all(
      names.map(async (file) => importTable(await readText(join(shared!, 'data', file)), { file })),
    );
    const gates = gatesOf(tables.flat());
    expect(gates.length).toBeGreaterThan(10);
    for (const gate of gates) expect(documented(text, gate), `${gate.name}: ${gate.error}`).toBe(true);
  },
  600_000,
);
