import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import {
  caseKey,
  measurementPlan,
  measurementsSchema,
  type Case,
  type Timed,
} from '../../src/calibration/index.js';
import { root, workFolder } from '../cli/epsim.js';
import { torchPython } from './torch-python.js';

const folder = workFolder();

/** Starts the built command line, to be interrupted on the way. */
function start(args: string[]) {
  const child = spawn(process.execPath, [join(root, 'dist/bin/epsim.js'), 'calibrate', 'measure', ...args], {
    cwd: root,
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = new Promise<{ status: number | null; stderr: string }>((resolve) => {
    child.on('close', (status) => resolve({ status, stderr }));
  });
  return { child, ended };
}

const rowsIn = (path: string) =>
  existsSync(path) ? measurementsSchema.parse(JSON.parse(readFileSync(path, 'utf8'))).rows : [];

describe.skipIf(torchPython === null)('PyTorch on this machine', () => {
  const plan = measurementPlan('tiny');

  it('times the tiny plan for real, though it is interrupted and killed on the way', async () => {
    const out = join(folder, 'm.json');
    const args = ['--backend', 'torch', '--plan', 'tiny', '--python', torchPython!, '--out', out];
    const before: string[] = [];
    for (const signal of ['SIGINT', 'SIGKILL'] as const) {
      const { child, ended } = start(args);
      while (rowsIn(out).length <= before.length && child.exitCode === null) await setTimeout(10);
      child.kill(signal);
      const { status, stderr } = await ended;
      const lines = rowsIn(out).map((row) => JSON.stringify(row));
      expect(lines.length).toBeGreaterThan(before.length);
      expect(lines.slice(0, before.length)).toEqual(before);
      before.splice(0, before.length, ...lines);
      if (signal === 'SIGINT') {
        expect(status).toBe(1);
        expect(stderr).toMatch(/\d+ cases are left: the same command again goes on with .*m\.json\n$/);
        expect(stderr).not.toContain('    at ');
      }
    }
    const { status, stderr } = await start(args).ended;
    expect([status, stderr]).toEqual([0, expect.stringContaining(`${before.length} there before`)]);

    const { rows, device, software } = measurementsSchema.parse(JSON.parse(readFileSync(out, 'utf8')));
    expect(rows.slice(0, before.length).map((row) => JSON.stringify(row))).toEqual(before);
    const timed = rows as Timed[];
    const keys = timed.map((row) => caseKey(row.case));
    expect(new Set(keys).size).toBe(keys.length);
    expect(readdirSync(folder)).toEqual(expect.arrayContaining(['m.json']));

    // Every case of the plan has a row but those that a CPU can't time.
    const missing = plan.cases.filter((wanted) => !keys.includes(caseKey(wanted)));
    expect(software.torch).toMatch(/^\d+\.\d+/);
    if (device.kind === 'cpu') {
      expect(missing.map(({ op }) => op)).toEqual(['copy', 'gemm-beside-copy', 'expert-stage']);
      expect(stderr).toContain('1 refused: no fused product of fp8 works here');
    }
    // Outputs were held against a reference on the CPU: exact, or as exact as the format.
    for (const { case: wanted, maxError, repeats, kernel } of timed) {
      const exact = ['launch', 'host-sync', 'copy', 'permute', 'top-k'].includes(wanted.op);
      const isFp32 =
        'fp32' === ('dtype' in wanted ? wanted.dtype : 'weightDtype' in wanted && wanted.weightDtype);
      expect(maxError).toBeLessThanOrEqual(exact ? 0 : isFp32 ? 1e-6 : 0.02);
      expect([repeats, kernel]).toEqual([plan.repeats, expect.stringMatching(/\w/)]);
    }
    const long = timed.filter(({ longRunSeconds }) => longRunSeconds !== undefined);
    expect(long.map(({ case: { op } }) => op)).toEqual(['expert-stage', 'expert-stage']);
  });

  it('does not give times of a kernel that computes something else', () => {
    const script = `
import sys; sys.path.insert(0, "tools")
import json, torch
from torch_backend import bench, products, work
b = bench.Bench()
effort = {"repeats": 1, "warmup": 0, "longRunSeconds": 0}
stage = {"op": "expert-stage", "layout": "loop", "hiddenSize": 64, "expertHiddenSize": 32,
         "weightDtype": "bf16", "activationDtype": "bf16", "counts": [3, 0, 9]}
gemm = {"op": "grouped-gemm", "layout": "loop", "inner": 64, "columns": 32, "dtype": "fp32", "counts": [0, 3, 9]}
permute = {"op": "permute", "tokens": 9, "topK": 2, "hiddenSize": 8, "dtype": "fp8"}
unpermute = {"op": "unpermute", "tokens": 9, "topK": 2, "hiddenSize": 8, "dtype": "fp32"}
top_k = {"op": "top-k", "tokens": 9, "topK": 2, "experts": 8}
cases = [stage, gemm, permute, unpermute, top_k]
right = [b.time(case, effort)["maxError"] < 0.02 for case in cases]
one = products.Plain.one
products.Plain.one = lambda self, rows, weights, expert: one(self, rows, weights, 0)
select, topk = torch.Tensor.index_select, torch.Tensor.topk
torch.Tensor.index_select = lambda values, dim, index: select(values, dim, index.flip(0))
torch.Tensor.topk = lambda values, k, dim: topk(values, k, dim=dim, largest=False)
work.F.embedding_bag = lambda place, values, **k: values[: len(place)]
wrong = []
for case in cases:
    try:
        b.time(case, effort)
        wrong.append("was timed")
    except ValueError as error:
        wrong.append("off by" in str(error))
print(json.dumps([right, wrong]))
`;
    const { stdout, stderr } = spawnSync(torchPython!, ['-B', '-W', 'ignore', '-c', script], {
      cwd: root,
      encoding: 'utf8',
    });
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual([Array(5).fill(true), Array(5).fill(true)]);
  });

  it('holds a GPU back until all calls are queued, but for loops, whose launches count', () => {
    const cases: Case[] = [
      { op: 'launch' },
      { op: 'host-sync' },
      { op: 'copy', direction: 'host-to-device', bytes: 4096 },
      { op: 'gemm-beside-copy', rows: 8, inner: 64, columns: 64, dtype: 'bf16', bytes: 4096 },
      ...plan.cases.filter(({ op }) => op === 'permute' || op === 'activation').slice(0, 2),
      ...plan.cases.filter((one) => 'layout' in one && one.layout === 'loop').slice(0, 2),
    ];
    const { stdout, stderr } = spawnSync(
      torchPython!,
      ['-B', '-W', 'ignore', 'test/measure/cuda_stand_in.py'],
      {
        cwd: root,
        env: { ...process.env, PYTHONPATH: 'tools' },
        input: JSON.stringify(cases),
        encoding: 'utf8',
      },
    );
    expect(stderr).toBe('');
    const [device, ...rows] = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Timed & { holds: number });
    expect(device).toEqual({ name: 'stand-in', kind: 'gpu' });
    // Beside copies: the product alone, the copy alone, and each time that the two set out together.
    expect(rows.map(({ holds }) => holds)).toEqual([0, 0, 1, 4, 1, 1, 0, 0]);
    expect(rows[3].aloneSeconds).toBeGreaterThan(0);
    rows.slice(2).forEach((row) => expect(row).toMatchObject({ clockMHz: 1000, powerWatts: 300.5 }));
    rows.forEach(({ maxError }) => expect(maxError).toBeLessThan(0.02));
  });
});
