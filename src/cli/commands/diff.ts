import { Command } from '@commander-js/extra-typings';
import { diffResults, parseResult } from '../../report/index.js';
import type { Result } from '../../simulation/index.js';
import { readResultFile } from '../read-result.js';

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
  const { json, file } = await readResultFile(path);
  return parseResult(json, file);
}
