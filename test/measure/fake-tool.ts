import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const greeting = {
  device: { name: 'a fake', kind: 'gpu' },
  software: { torch: '0' },
  products: { fused: ['bf16'], loop: ['bf16', 'fp32'] },
};

export const row = { kernel: 'none', seconds: 1e-6, spread: 0, repeats: 1 };

/**
 * Writes a program that stands in for the Python interpreter.
 * @param answer body of a JavaScript function of `request` that gives the line to say, or ends the process
 * @param first what it says at first
 */
export function fakePython(folder: string, name: string, answer: string, first: unknown = greeting): string {
  const path = join(folder, name);
  const script = `#!${process.execPath}
const say = (line) => process.stdout.write((typeof line === 'string' ? line : JSON.stringify(line)) + '\\n');
const row = ${JSON.stringify(row)};
const answer = (request) => { ${answer} };
const first = ${JSON.stringify(first)};
if (first !== null) say(first);
import('node:readline').then(({ createInterface }) =>
  createInterface({ input: process.stdin }).on('line', (line) => say(answer(JSON.parse(line)))));
`;
  writeFileSync(path, script);
  chmodSync(path, 0o755);
  return path;
}
