import { Command } from '@commander-js/extra-typings';
import { join } from 'node:path';
import { exists, FileError, readJson } from '../../files/index.js';
import { diffResults } from '../../report/index.js';
import type { Result } from '../../simulation/index.js';

export function diffCommand() {
  return new Command('diff')
    .description('what changed between two results')
    .argument('<before>', 'result.json, or the folder that holds it')
    .argument('<after>', 'result.json, or the folder that holds it')
    .action(async (before, after) => {
      process.stdout.write(`${diffResults(await readResult(before), await readResult(after))}\n`);
    });
}

async function readResult(path: string): Promise<Result> {
  const file = exists(join(path, 'result.json')) ? join(path, 'result.json') : path;
  const json = (await readJson(file)) as Partial<Result> | null;
  if (json?.schema !== 'epsim/result@1' || !Array.isArray(json.policies)) {
    throw new FileError(
      `${file}: found no result, allowed: a file that epsim run --out or --format json wrote`,
    );
  }
  return json as Result;
}
