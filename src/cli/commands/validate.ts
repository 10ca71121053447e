import { Command, Option } from '@commander-js/extra-typings';
import { join } from 'node:path';
import {
  breakEvenTokens,
  importTable,
  isMet,
  kernelGates,
  leaveOneFigureOutGates,
  llepPaperGates,
  memoryGates,
  networkGates,
  type Gate,
  type Measurements,
} from '../../calibration/index.js';
import { exists, readText } from '../../files/index.js';
import { gateTable } from '../../report/index.js';
import { UsageError } from '../input-error.js';

const SUITES = ['llep-paper', 'kernels', 'network', 'memory'] as const;

/** Published tables that the suites need, by name in the data folder. */
const TABLES = {
  kernels: ['moe_h100_trtllm_1.3.0rc20_cutlass.csv.gz', 'moe_h100_vllm_0.24.0.csv.gz'],
  network: [
    'h100_nccl_2.29.2.csv.gz',
    'h100_multinode_wideep_deepep_normal_perf.csv.gz',
    'h100_multinode_wideep_deepep_ll_perf.csv.gz',
  ],
};

export function validateCommand() {
  return new Command('validate')
    .description('compare the simulator with published measurements; exit 1 if a gate fails')
    .addOption(new Option('--suite <name...>', 'suites to run (default: all)').choices(SUITES))
    .option(
      '--data <folder>',
      'folder of the published tables (default: $EPSIM_SHARED/data or ../shared/data)',
    )
    .action(async ({ suite = [...SUITES], data }) => {
      const folder = data ?? join(process.env.EPSIM_SHARED ?? '../shared', 'data');
      const gates: Gate[] = [];
      const note = (text: string) => console.error(text);
      if (suite.includes('llep-paper')) {
        gates.push(...llepPaperGates());
        note('llep-paper: fitting the constants to one figure at a time');
        gates.push(...leaveOneFigureOutGates());
      }
      if (suite.includes('memory')) gates.push(...memoryGates());
      if (suite.includes('network')) gates.push(...networkGates(await tables(folder, TABLES.network)));
      if (suite.includes('kernels')) gates.push(...kernelGates(await tables(folder, TABLES.kernels), note));
      process.stdout.write(`${gateTable(gates)}\n`);
      if (suite.includes('llep-paper')) process.stdout.write(`${breakEvenLines()}\n`);
      process.stdout.write('Communication under skew: unvalidated; no measurement of it was found.\n');
      const failed = gates.filter((gate) => !isMet(gate)).length;
      process.stdout.write(failed === 0 ? 'All gates are met.\n' : `${failed} gates are not met.\n`);
      if (failed > 0) process.exitCode = 1;
    });
}

async function tables(folder: string, names: readonly string[]): Promise<Measurements[]> {
  const missing = names.filter((name) => !exists(join(folder, name)));
  if (missing.length > 0) {
    throw new UsageError(
      `${folder}: found no ${missing.join(', ')}; allowed: a folder with these tables of ai-dynamo/aiconfigurator ` +
        '(--data), or suites that need none (--suite llep-paper memory)',
    );
  }
  const read = names.map(async (name) => importTable(await readText(join(folder, name)), { file: name }));
  return (await Promise.all(read)).flat();
}

function breakEvenLines(): string {
  const [reference, engineered] = (['llep-reference', 'llep-engineered'] as const).map(breakEvenTokens);
  return (
    'LLEP beats EP (128 experts, D = H = 2048, half the tokens on 4 experts) from ' +
    `${reference} tokens per GPU with llep-reference, from ${engineered} with llep-engineered (assumed).`
  );
}
