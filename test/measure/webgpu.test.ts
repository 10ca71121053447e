import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { measurementsSchema, type Case, type Timed } from '../../src/calibration/index.js';
import { BackendError, type Effort, type OpenDevice } from '../../src/measure/index.js';
import { deviceOf } from '../../src/measure/webgpu/backend.js';
import { Gpu, type Capabilities } from '../../src/measure/webgpu/gpu.js';
import { foldedWorkgroups } from '../../src/measure/webgpu/kernels/kernel.js';
import { checkedRows } from '../../src/measure/webgpu/max-error.js';
import { planOf, type PlannedCase } from '../../src/measure/webgpu/plans/index.js';
import { segmentsOf } from '../../src/measure/webgpu/plans/segments.js';
import { randomElement } from '../../src/measure/webgpu/random-values.js';
import { halfToNumber } from '../../src/measure/webgpu/read-elements.js';
import { refusalOf } from '../../src/measure/webgpu/refusal.js';
import { isSoftware } from '../../src/measure/webgpu/software-adapter.js';
import { root } from '../cli/epsim.js';
import { runPlan } from './run-plan.js';
import { chooseVulkanDriver } from './vulkan-driver.js';

chooseVulkanDriver();
const gpu = await Gpu.open().catch((error: Error) => {
  const message = `no WebGPU here, tests on it are left out: ${error.message}`;
  if (process.env.EPSIM_REQUIRE_WEBGPU === '1') throw new Error(message);
  console.warn(message);
  return null;
});

const effort: Effort = { repeats: 3, warmup: 1, longRunSeconds: 0 };

const can: Capabilities = {
  shaderF16: false,
  maxBufferSize: 2 ** 28,
  maxStorageBufferBindingSize: 2 ** 27,
  maxComputeWorkgroupsPerDimension: 65535,
};

/** Empty experts, one row, and rows that fill no tile. */
const FEW_ROWS = [0, 1, 0, 5, 17, 0];
/** Enough rows for tall tiles: one short, one full, one of two tiles. */
const MANY_ROWS = [3, 64, 0, 100];

function stage(
  sizes: { hiddenSize: number; expertHiddenSize: number; counts: number[] },
  layout: 'fused' | 'loop' = 'fused',
  dtype: 'fp32' | 'fp16' | 'bf16' = 'fp32',
): PlannedCase & { op: 'expert-stage' } {
  return {
    op: 'expert-stage',
    layout,
    ...sizes,
    weightDtype: dtype,
    activationDtype: dtype,
    routing: 'by hand',
  };
}

function product(
  sizes: { inner: number; columns: number; counts: number[] },
  layout: 'fused' | 'loop' = 'fused',
  dtype: 'fp32' | 'fp16' = 'fp32',
): PlannedCase & { op: 'grouped-gemm' } {
  return { op: 'grouped-gemm', layout, ...sizes, dtype, routing: 'by hand' };
}

/** Rows by the matrices of their experts, plainly. */
function multiply(x: Float64Array, w: Float64Array, inner: number, columns: number, counts: number[]) {
  const result: number[] = [];
  let row = 0;
  counts.forEach((rows, expert) => {
    for (const end = row + rows; row < end; row++) {
      for (let column = 0; column < columns; column++) {
        let sum = 0;
        for (let i = 0; i < inner; i++) {
          sum += x[row * inner + i] * w[expert * inner * columns + i * columns + column];
        }
        result.push(sum);
      }
    }
  });
  return Float64Array.from(result);
}

const silu = (x: number) => x / (1 + Math.exp(-x));

/** SiLU of the left halves of rows times their right halves. */
function activate(gateUp: Float64Array, width: number): Float64Array {
  return gateUp
    .filter((_, i) => i % (2 * width) < width)
    .map((gate, i) => silu(gate) * gateUp[Math.floor(i / width) * 2 * width + width + (i % width)]);
}

function expectNear(found: Float64Array, wanted: ArrayLike<number>, relative = 1e-5): void {
  expect(found.length).toBe(wanted.length);
  const largest = Math.max(...Array.from(wanted, Math.abs));
  expect(largest).toBeGreaterThan(0);
  let worst = 0;
  found.forEach((value, i) => (worst = Math.max(worst, Math.abs(value - wanted[i]))));
  expect(worst / largest).toBeLessThan(relative);
}

describe.skipIf(gpu === null)('kernels in WGSL', () => {
  afterAll(() => gpu?.close());

  it.each([
    ['fused', 40, 72, FEW_ROWS],
    ['loop', 40, 72, FEW_ROWS],
    ['fused', 37, 70, FEW_ROWS],
    ['fused', 5, 3, [1]],
    ['fused', 33, 130, MANY_ROWS],
    ['loop', 20, 64, MANY_ROWS],
    ['fused', 64, 128, [64, 64]],
  ] as const)('grouped GEMM, %s, %d × %d, rows %j', async (layout, inner, columns, rows) => {
    const counts = [...rows];
    const { input, weights, output } = await runPlan(gpu!, product({ inner, columns, counts }, layout));
    expectNear(output, multiply(input, weights, inner, columns, counts));
  });

  it.each([
    ['fused', 24, 36, FEW_ROWS],
    ['loop', 24, 36, FEW_ROWS],
    ['fused', 19, 13, FEW_ROWS],
    ['loop', 19, 13, FEW_ROWS],
    ['loop', 70, 66, MANY_ROWS],
    ['fused', 3, 1, [1]],
  ] as const)('expert stage, %s, D %d, H %d, rows %j', async (layout, hiddenSize, expertHiddenSize, rows) => {
    const counts = [...rows];
    const found = await runPlan(gpu!, stage({ hiddenSize, expertHiddenSize, counts }, layout));
    const gateUp = multiply(
      found.input,
      found['gate and up weights'],
      hiddenSize,
      2 * expertHiddenSize,
      counts,
    );
    const activated = activate(gateUp, expertHiddenSize);
    expectNear(
      found.output,
      multiply(activated, found['down weights'], expertHiddenSize, hiddenSize, counts),
    );
  });

  it.each([
    [7, 12],
    [5, 9],
    [1, 1],
    [300, 64],
    [300, 63, 7],
  ])('activation of %d rows of %d', async (rows, expertHiddenSize, along = Infinity) => {
    const wanted = { op: 'activation', rows, expertHiddenSize, dtype: 'fp32' } as const;
    const { input, output } = await runPlan(gpu!, wanted, along);
    expectNear(output, activate(input, expertHiddenSize));
  });

  it.each([
    [9, 4, 20],
    [6, 3, 7],
    [1, 1, 1],
  ])('permute %d tokens, %d copies each, D %d', async (tokens, topK, hiddenSize) => {
    const { input, sources, output } = await runPlan(gpu!, {
      op: 'permute',
      tokens,
      topK,
      hiddenSize,
      dtype: 'fp32',
    });
    const copies = Array.from({ length: tokens }, (_, token) => new Array<number>(topK).fill(token)).flat();
    expect([...sources].sort((a, b) => a - b)).toEqual(copies);
    expect(output).toEqual(
      Float64Array.from(
        [...sources].flatMap((token) => [...input.subarray(token * hiddenSize, (token + 1) * hiddenSize)]),
      ),
    );
  });

  it.each([
    [9, 4, 20],
    [6, 3, 7],
    [1, 1, 1],
  ])('unpermute %d tokens, %d copies each, D %d', async (tokens, topK, hiddenSize) => {
    const { input, places, gates, output } = await runPlan(gpu!, {
      op: 'unpermute',
      tokens,
      topK,
      hiddenSize,
      dtype: 'fp32',
    });
    expect([...places].sort((a, b) => a - b)).toEqual(Array.from({ length: tokens * topK }, (_, i) => i));
    const wanted = new Float64Array(tokens * hiddenSize);
    places.forEach((row, copy) => {
      for (let i = 0; i < hiddenSize; i++) {
        wanted[Math.floor(copy / topK) * hiddenSize + i] += gates[copy] * input[row * hiddenSize + i];
      }
    });
    expectNear(output, wanted);
  });

  it.each([
    [5, 128, 8],
    [33, 7, 7],
    [1, 1, 1],
    [33, 6, 2, 7],
  ])('top-k: of %d tokens with %d experts %d each', async (tokens, experts, topK, along = Infinity) => {
    const { scores, chosen, gates } = await runPlan(gpu!, { op: 'top-k', tokens, experts, topK }, along);
    const wantedChosen: number[] = [];
    const wantedGates: number[] = [];
    for (let token = 0; token < tokens; token++) {
      const own = [...scores.subarray(token * experts, (token + 1) * experts)];
      const best = own
        .map((_, expert) => expert)
        .sort((a, b) => own[b] - own[a])
        .slice(0, topK);
      const sum = best.reduce((total, expert) => total + Math.exp(own[expert]), 0);
      wantedChosen.push(...best);
      wantedGates.push(...best.map((expert) => Math.exp(own[expert]) / sum));
    }
    expect(chosen).toEqual(Float64Array.from(wantedChosen));
    let worst = 0;
    gates.forEach((gate, i) => (worst = Math.max(worst, Math.abs(gate - wantedGates[i]))));
    expect(worst).toBeLessThan(1e-6);
  });

  it.each(['device-to-device', 'host-to-device'] as const)('copies %s', async (direction) => {
    const { source, target } = await runPlan(gpu!, { op: 'copy', direction, bytes: 4 * 2500 });
    expect(target).toEqual(source);
    expect(new Set(source).size).toBeGreaterThan(2400);
  });

  it('start from the same random numbers that the reference makes on the host', async () => {
    const { input } = await runPlan(gpu!, {
      op: 'activation',
      rows: 64,
      expertHiddenSize: 64,
      dtype: 'fp32',
    });
    expect(input).toEqual(Float64Array.from(input, (_, i) => randomElement('fp32', 0, 4)(i)));
    const mean = input.reduce((a, b) => a + b) / input.length;
    const square = input.reduce((a, b) => a + b * b, 0) / input.length;
    expect(Math.abs(mean)).toBeLessThan(0.1);
    expect(square).toBeCloseTo(16 / 3, 0);
  });
});

describe.skipIf(gpu === null)('the device', () => {
  let opened: OpenDevice;
  beforeAll(async () => {
    opened = deviceOf(await Gpu.open());
  });
  afterAll(() => opened.close());

  it('says what it is', () => {
    expect(opened.device.name).not.toBe('');
    if (/swiftshader/i.test(opened.device.name)) expect(opened.device.kind).toBe('software');
    expect(opened.software.webgpu).toMatch(/^\d+\.\d+\.\d+/);
  });

  it('times every operation, right to rounding, in rows of the schema', async () => {
    const sizes = { hiddenSize: 24, expertHiddenSize: 36, counts: FEW_ROWS };
    const cases: Case[] = [
      stage(sizes),
      stage(sizes, 'loop'),
      product({ inner: 20, columns: 30, counts: MANY_ROWS }),
      { op: 'permute', tokens: 16, topK: 2, hiddenSize: 24, dtype: 'fp32' },
      { op: 'unpermute', tokens: 16, topK: 2, hiddenSize: 24, dtype: 'fp32' },
      { op: 'top-k', tokens: 32, experts: 16, topK: 2 },
      { op: 'activation', rows: 32, expertHiddenSize: 24, dtype: 'fp32' },
      { op: 'copy', direction: 'device-to-device', bytes: 2 ** 16 },
      { op: 'copy', direction: 'host-to-device', bytes: 2 ** 16 },
      { op: 'launch' },
      { op: 'host-sync' },
    ];
    const rows: Timed[] = [];
    for (const wanted of cases) {
      expect(opened.refusal(wanted)).toBeNull();
      rows.push(await opened.time(wanted, effort));
    }
    const { device, software } = opened;
    measurementsSchema.parse({
      schema: 'epsim/measurements@1',
      source: { name: 'test', version: '0', licence: 'own' },
      device,
      software,
      rows,
    });
    for (const { case: of, repeats, maxError, longRunSeconds } of rows) {
      expect(repeats).toBe(effort.repeats);
      expect(longRunSeconds).toBeUndefined();
      if (of.op === 'launch' || of.op === 'host-sync') expect(maxError).toBeUndefined();
      else if (of.op === 'permute' || of.op === 'copy') expect(maxError).toBe(0);
      else expect(maxError).toBeLessThan(1e-5);
    }
  });

  it('adds a long run where it is asked for', async () => {
    const wanted: Case = { op: 'activation', rows: 64, expertHiddenSize: 64, dtype: 'fp32' };
    const row = await opened.time(wanted, { ...effort, longRunSeconds: 0.1 });
    expect(row.longRunSeconds).toBeGreaterThan(0);
  });

  it('throws at what it refuses', async () => {
    const wanted: Case = {
      op: 'gemm-beside-copy',
      rows: 16,
      inner: 16,
      columns: 16,
      dtype: 'fp32',
      bytes: 1024,
    };
    expect(opened.refusal(wanted)).toContain('one queue');
    await expect(opened.time(wanted, effort)).rejects.toThrow(BackendError);
  });

  it('times without timestamp queries, and the row says so', async () => {
    const plain = deviceOf(await Gpu.open(['timestamp-query']));
    for (const wanted of [
      { op: 'activation', rows: 256, expertHiddenSize: 64, dtype: 'fp32' },
      { op: 'copy', direction: 'device-to-device', bytes: 2 ** 16 },
    ] satisfies Case[]) {
      const row = await plain.time(wanted, effort);
      expect(row.kernel).toMatch(/timed on the host/);
      expect(row.maxError).toBeLessThan(1e-5);
    }
    await plain.close();
  });

  it('reports what the device says against a program', async () => {
    const broken = await Gpu.open();
    await expect(
      broken.guarded('a kernel', () => broken.pipeline({ name: 'broken', code: 'fn main( {}' })),
    ).rejects.toThrow(/webgpu: a kernel: .*expected/s);
    broken.close();
  });
});

describe.skipIf(gpu === null)('in fp16', () => {
  // No software adapter has 16-bit floats; Dawn's null device compiles for them and computes nothing
  it('every kernel is a valid program', async () => {
    const compiler = await Gpu.open([], ['backend=null']);
    expect(compiler.capabilities.shaderF16).toBe(true);
    for (const width of [12, 7]) {
      const cases: PlannedCase[] = [
        stage({ hiddenSize: width, expertHiddenSize: width, counts: FEW_ROWS }, 'fused', 'fp16'),
        product({ inner: width, columns: width, counts: MANY_ROWS }, 'fused', 'fp16'),
        { op: 'permute', tokens: 3, topK: 2, hiddenSize: width, dtype: 'fp16' },
        { op: 'unpermute', tokens: 3, topK: 2, hiddenSize: width, dtype: 'fp16' },
        { op: 'activation', rows: 3, expertHiddenSize: width, dtype: 'fp16' },
      ];
      for (const wanted of cases) await runPlan(compiler, wanted);
    }
    compiler.close();
  });

  it('is refused where the adapter lacks it', () => {
    const wanted: Case = { op: 'activation', rows: 3, expertHiddenSize: 8, dtype: 'fp16' };
    expect(refusalOf(wanted, can)).toContain('shader-f16');
    expect(refusalOf(wanted, { ...can, shaderF16: true })).toBeNull();
  });
});

it('decodes halves', () => {
  expect([0x3c00, 0xbc00, 0x7bff, 0x0001, 0x0400, 0x3555, 0x8000, 0x7c00].map(halfToNumber)).toEqual([
    1,
    -1,
    65504,
    2 ** -24,
    2 ** -14,
    0.333251953125,
    -0,
    Infinity,
  ]);
  expect(halfToNumber(0x7e00)).toBeNaN();
});

it('draws fp16 numbers that fp16 holds', () => {
  const draw = randomElement('fp16', 3, 2 ** -6);
  for (let i = 0; i < 1000; i++) {
    expect(Math.abs(draw(i))).toBeLessThanOrEqual(2 ** -6);
    expect(Number.isInteger(draw(i) * 2 ** 16)).toBe(true);
  }
});

describe('refusals', () => {
  it.each<[Case, RegExp]>([
    [stage({ hiddenSize: 8, expertHiddenSize: 8, counts: [1] }, 'fused', 'bf16'), /fp32 and fp16.*bf16/],
    [
      { ...stage({ hiddenSize: 8, expertHiddenSize: 8, counts: [1] }), weightDtype: 'fp8' },
      /fp8 weights with fp32 activations/,
    ],
    [{ op: 'permute', tokens: 1, topK: 1, hiddenSize: 8, dtype: 'int8' }, /not in int8/],
    [{ op: 'copy', direction: 'device-to-device', bytes: 6 }, /whole words/],
    [{ op: 'copy', direction: 'host-to-device', bytes: 2 ** 29 }, /512.0 MiB.*256.0 MiB \(maxBufferSize\)/],
    [
      stage({ hiddenSize: 4096, expertHiddenSize: 4096, counts: [1, 1] }),
      /'gate and up weights' would take 256.0 MiB.*128.0 MiB \(maxStorageBufferBindingSize\)/,
    ],
    [{ op: 'top-k', tokens: 1, experts: 100_000, topK: 1 }, /3968 experts at most/],
    [{ op: 'top-k', tokens: 1, experts: 2, topK: 3 }, /3 largest of 2/],
    [product({ inner: 1, columns: 2 ** 22 + 1, counts: [1] }), /65537 workgroups.*65535/],
  ])('%j', (wanted, reason) => {
    expect(refusalOf(wanted, can)).toMatch(reason);
  });
});

describe('work in parts', () => {
  it('covers every row once, gives empty experts no tile, and a loop one dispatch per active expert', () => {
    for (const layout of ['fused', 'loop'] as const) {
      const segments = segmentsOf([0, 70, 0, 3], layout, 64);
      expect(segments.map(({ tiles }) => [...tiles])).toEqual(
        layout === 'fused'
          ? [[1, 0, 64, 0, 1, 64, 6, 0, 3, 70, 3, 0]]
          : [
              [1, 0, 64, 0, 1, 64, 6, 0],
              [3, 70, 3, 0],
            ],
      );
    }
    const plan = planOf(product({ inner: 4, columns: 4, counts: [2, 0, 2] }, 'loop'), 'fp32');
    expect(plan.call.kind === 'dispatches' && plan.call.dispatches.length).toBe(2);
  });

  it('folds long lines of workgroups', () => {
    expect(foldedWorkgroups(7)).toEqual([7, 1]);
    expect(foldedWorkgroups(65535)).toEqual([65535, 1]);
    expect(foldedWorkgroups(65536)).toEqual([65535, 2]);
  });

  it('checks all rows where that is cheap, else some with the first and the last', () => {
    expect(checkedRows(5, { costPerRow: 10 })).toEqual([0, 1, 2, 3, 4]);
    expect(checkedRows(1, { costPerRow: 1e9 })).toEqual([0]);
    expect(checkedRows(101, { costPerRow: 1e9 })).toEqual([0, 100]);
    expect(checkedRows(101, { costPerRow: 1e7 })).toEqual([0, 50, 100]);
  });
});

it.each([
  ['google swiftshader swiftshader-device-subzero- SwiftShader driver 5.0.0', true],
  ['mesa  llvmpipe-llvm-15-0-6-256-bits- llvmpipe', true],
  ['mesa lavapipe', true],
  ['microsoft  microsoft-basic-render-driver Microsoft Basic Render Driver', true],
  ['microsoft warp', true],
  ['nvidia hopper nvidia-h100-80gb-hbm3 NVIDIA: 550.54.15', false],
  ['apple metal-3 apple-m3-max', false],
])('an adapter that calls itself %s is software: %s', (description, software) => {
  const info = { vendor: '', architecture: '', device: '', description, isFallbackAdapter: false };
  expect(isSoftware(info)).toBe(software);
  expect(isSoftware({ ...info, isFallbackAdapter: true })).toBe(true);
});

describe('as a program', () => {
  const open = `
    import { webgpuBackend } from './dist/measure/webgpu/index.js';
    try {
      const device = await webgpuBackend.open();
      await device.time({ op: 'activation', rows: 8, expertHiddenSize: 8, dtype: 'fp32' },
        { repeats: 1, warmup: 0, longRunSeconds: 0 });
      await device.close();
      console.log('done');
    } catch (error) {
      console.log(error.name, error.message);
    }`;
  const run = (program: string, env: NodeJS.ProcessEnv = {}) =>
    spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
      cwd: root,
      encoding: 'utf8',
      env: { ...process.env, ...env },
    });

  it.skipIf(gpu === null)('ends by itself and cleanly', () => {
    expect(run(open)).toMatchObject({ stdout: 'done\n', status: 0, signal: null });
  });

  it('says what to install where the package is missing', () => {
    const hooks = `export const resolve = (name, context, next) =>
      next(name === 'webgpu' ? 'a-package-that-nobody-installed' : name, context);`;
    const { stdout } = run(`
      import { register } from 'node:module';
      register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hooks)}));
      await import('data:text/javascript,0');
      ${open.replace(/import (.*) from (.*);/, 'const $1 = await import($2);')}`);
    expect(stdout).toMatch(/^BackendError .*npm install webgpu@/);
  });

  it.runIf(process.platform === 'linux')('says what to install where there is no adapter', () => {
    const { stdout } = run(open, { VK_DRIVER_FILES: '/nothing/here.json', VK_ICD_FILENAMES: '' });
    expect(stdout).toMatch(/^BackendError no WebGPU adapter was found: install the driver/);
  });
});
