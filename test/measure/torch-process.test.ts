import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Case } from '../../src/calibration/index.js';
import { BackendError, CaseRefused } from '../../src/measure/index.js';
import { torchBackend } from '../../src/measure/torch.js';
import { workFolder } from '../cli/epsim.js';
import { fakePython, greeting, row } from './fake-tool.js';

const folder = workFolder();
const effort = { repeats: 1, warmup: 0, longRunSeconds: 0 };
const launch: Case = { op: 'launch' };

function script(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
  return path;
}

async function failure(promise: Promise<unknown>): Promise<Error> {
  return promise.then(
    () => Promise.reject(new Error('nothing failed')),
    (error: Error) => error,
  );
}

describe('where there is nothing to measure with, one message says what to install', () => {
  it.each([
    ['no interpreter', () => join(folder, 'nowhere/python3'), 'no such program'],
    ['a folder', () => folder, 'EACCES'],
    [
      'one without PyTorch',
      () => script('bare', `echo '{"missing": "No module named torch"}'; exit 1`),
      '(No module',
    ],
    [
      'one that fails',
      () => script('fails', 'echo broken libraries >&2; exit 3'),
      'exit code 3; it said: broken libraries',
    ],
    ['one that says nothing', () => script('mute', 'exit 0'), 'exit code 0'],
    ['one that chats', () => script('chats', 'echo hello'), 'not JSON: hello'],
    [
      'one that says something else',
      () => script('other', `echo '{"device": 1}'`),
      'said what it should not: {"device":1}',
    ],
  ])('%s', async (_, python, message) => {
    const error = await failure(torchBackend(python()).open());
    expect(error).toBeInstanceOf(BackendError);
    expect(error.message).toContain(message);
    expect(error.message).toContain("install it (pip install torch, or Debian's python3-torch)");
    expect(error.message).toContain('--python or EPSIM_PYTHON');
  });
});

describe('a device of another process', () => {
  const open = (name: string, answer: string) => torchBackend(fakePython(folder, name, answer)).open();

  it('is what the process says, and answers with its rows', async () => {
    const device = await open('answers', `return { row: { ...row, repeats: request.effort.repeats } };`);
    expect([device.device, device.software]).toEqual([greeting.device, greeting.software]);
    const timed = await device.time(launch, { ...effort, repeats: 7 });
    expect(timed).toEqual({ case: launch, ...row, repeats: 7 });
    await device.close();
  });

  it('refuses what it cannot time', async () => {
    const device = await open('refuses', 'return null;');
    const stage: Case = {
      op: 'expert-stage',
      layout: 'fused',
      hiddenSize: 8,
      expertHiddenSize: 8,
      weightDtype: 'bf16',
      activationDtype: 'bf16',
      counts: [1],
      routing: 'balanced',
    };
    const gemm: Case = {
      op: 'grouped-gemm',
      layout: 'fused',
      inner: 8,
      columns: 8,
      dtype: 'fp32',
      counts: [1],
      routing: 'balanced',
    };
    const copy: Case = { op: 'copy', direction: 'host-to-device', bytes: 8 };
    const activation: Case = { op: 'activation', rows: 1, expertHiddenSize: 8, dtype: 'fp8' };
    expect(device.refusal(stage)).toBeNull();
    expect(device.refusal({ ...stage, weightDtype: 'mxfp4' })).toContain(
      'mxfp4 weights and bf16 activations',
    );
    expect(device.refusal(gemm)).toBe('no fused product of fp32 works here');
    expect(device.refusal({ ...gemm, layout: 'loop' })).toBeNull();
    expect(device.refusal(copy)).toBeNull();
    expect(device.refusal(activation)).toBe('no arithmetic in fp8 here');
    await device.close();
  });

  it('says what went wrong, and times other cases after that', async () => {
    const device = await open(
      'fails-on-some',
      `switch (request.case.op) {
        case 'launch': process.stderr.write('illegal address'); process.exit(9);
        case 'host-sync': return { refusal: 'no memory' };
        case 'copy': return { error: 'unlucky' };
        case 'top-k': return 'chatter';
        case 'permute': return { row: { kernel: 'no time' } };
        default: return { row };
      }`,
    );
    const time = (wanted: Case) => device.time(wanted, effort);
    expect((await failure(time(launch))).message).toContain('exit code 9; it said: illegal address');
    const refused = await failure(time({ op: 'host-sync' }));
    expect([refused instanceof CaseRefused, refused.message]).toEqual([true, 'no memory']);
    const failed = await failure(time({ op: 'copy', direction: 'device-to-device', bytes: 1 }));
    expect([failed.name, failed.message]).toEqual(['BackendError', 'unlucky']);
    expect((await failure(time({ op: 'top-k', tokens: 1, experts: 2, topK: 1 }))).message).toContain(
      'chatter',
    );
    const permute: Case = { op: 'permute', tokens: 1, topK: 1, hiddenSize: 1, dtype: 'bf16' };
    expect((await failure(time(permute))).message).toContain('said what it should not');
    expect(await time({ ...permute, op: 'unpermute' })).toMatchObject(row);
    await device.close();
  });
});
