import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const main = join(root, 'dist/bin/epsim.js');

/** Runs the built command line as a user does. */
export function epsim(args: string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
    cwd: options.cwd ?? root,
    env: { ...process.env, ...options.env },
    encoding: 'utf8',
    timeout: 100_000,
    maxBuffer: 1 << 28,
  });
  return { status, stdout, stderr };
}

/** A folder of the test file's own, gone afterwards. */
export function workFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'epsim-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function writeJson(folder: string, name: string, content: unknown): string {
  const path = join(folder, name);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

/** A scenario that runs in no time. */
export const small = {
  name: 'small',
  model: { hiddenSize: 64, expertHiddenSize: 64, experts: 8, topK: 2, moeLayers: 2 },
  cluster: { gpu: 'h100', gpus: 4 },
  workload: { phase: 'prefill', tokensPerGpu: 32, steps: 3, routing: { kind: 'zipf', exponent: 1 } },
  policies: ['ep', 'llep'],
  seed: 7,
};
