import { Command } from '@commander-js/extra-typings';
import { join } from 'node:path';
import { exists, FileError, readJson } from '../../files/index.js';
import { diffResults, parseResult } from '../../report/index.js';
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
  const json = await readJson(file);
  if ((json as Partial<Result> | null)?.schema !== 'epsim/result@1' && !Array.isArray(json)) {
    throw new FileError(
      `${file}: found no result, allowed: a file that epsim run --out or --format json wrote`,
    );
  }
  return parseResult(json, file);
}
