import { Command } from '@commander-js/extra-typings';
import { dirname, relative, resolve } from 'node:path';
import { exists, packageFile, writeWhole } from '../../files/index.js';
import type { ScenarioInput } from '../../scenario/index.js';
import { UsageError } from '../input-error.js';

const SCHEMA = packageFile('schema/scenario.schema.json');

const starter: ScenarioInput = {
  name: 'my model under skewed routing',
  model: 'qwen3-30b-a3b',
  cluster: { gpu: 'h200', gpus: 8 },
  runtime: 'ideal',
  workload: {
    phase: 'prefill',
    tokensPerGpu: 4096,
    steps: 50,
    routing: { kind: 'log-normal', sigma: 1, redraw: 'run' },
  },
  policies: ['ep', 'llep', 'replicate-quantize', 'capacity'],
  seed: 1,
};

export function initCommand() {
  return new Command('init')
    .description('write a starter scenario')
    .argument('[file]', 'where', 'scenario.json')
    .option('--force', 'overwrite a file that is there')
    .action(async (file, { force }) => {
      if (exists(file) && !force)
        throw new UsageError(`${file}: found a file, allowed: a new name, or --force`);
      const schema = relative(dirname(resolve(file)), SCHEMA);
      await writeWhole(file, `${JSON.stringify({ $schema: schema, ...starter }, null, 2)}\n`);
      console.error(`wrote ${file}; run it with: epsim run ${file}`);
    });
}
