import type { Dtype } from '../hardware/index.js';
import type { Trace } from '../routing/index.js';
import { caseKey } from './cases.js';
import type { Case } from './measurements.js';
import {
  drawCounts,
  traceCounts,
  type ExpertGroup,
  type GivenCounts,
  type RoutingName,
} from './plan-counts.js';

/** What to time, in this order, and for how long. */
export interface MeasurementPlan {
  name: PlanName;
  /** All different. */
  cases: Case[];
  /** Timed calls per case. */
  repeats: number;
  /** Calls before them. */
  warmup: number;
  /** Length of the one long run of every expert shape; see `longRunCases`. */
  longRunSeconds: number;
}

export const PLAN_NAMES = ['full', 'quick', 'tiny'] as const;
export type PlanName = (typeof PLAN_NAMES)[number];

type ExpertStageCase = Extract<Case, { op: 'expert-stage' }>;
type Layout = ExpertStageCase['layout'];

/** The experts of one GPU, as wide as a model's. */
interface Setting extends ExpertGroup {
  hiddenSize: number;
  expertHiddenSize: number;
}

/** Cases of every setting: each routing with each number of tokens per GPU. */
interface Grid {
  layout: Layout;
  dtype: Dtype;
  routings: RoutingName[];
  tokens: number[];
}

interface PlanSpec {
  repeats: number;
  warmup: number;
  longRunSeconds: number;
  settings: Setting[];
  stages: Grid[];
  products: Grid[];
  /** Of permute, unpermute and top-k. */
  tokens: number[];
  /** Of activation. */
  rows: number[];
  dtypes: Dtype[];
  copyBytes: number[];
  besideCopy: { rows: number; inner: number; columns: number; bytes: number }[];
}

const gptOss = { hiddenSize: 2880, expertHiddenSize: 2880, experts: 128, topK: 4 };
const deepseekV3 = { hiddenSize: 7168, expertHiddenSize: 2048, experts: 256, topK: 8 };
const kimiK2 = { ...deepseekV3, experts: 384 };
const qwen3 = { hiddenSize: 2048, expertHiddenSize: 768, experts: 128, topK: 8 };
const square = { hiddenSize: 2048, expertHiddenSize: 2048, experts: 64, topK: 8 };

const KIB = 1024;
const MIB = 1024 * KIB;

const SPECS: Record<PlanName, PlanSpec> = {
  full: {
    repeats: 20,
    warmup: 3,
    longRunSeconds: 5,
    settings: [
      { ...gptOss, gpus: 4 },
      { ...gptOss, gpus: 32 },
      { ...deepseekV3, gpus: 8 },
      { ...deepseekV3, gpus: 32 },
      { ...kimiK2, gpus: 24 },
      { ...qwen3, gpus: 1 },
      { ...qwen3, gpus: 8 },
      { ...square, gpus: 1 },
      { ...square, gpus: 8 },
    ],
    stages: [
      grid('fused', 'bf16', ['balanced', 'power-law'], [1, 4, 16, 64, 256, 1024, 4096, 16_384]),
      grid('fused', 'bf16', ['log-normal', 'few-active'], [64, 1024, 8192]),
      grid('loop', 'bf16', ['balanced', 'power-law'], [16, 256, 4096]),
      grid('fused', 'fp8', ['balanced', 'power-law'], [16, 256, 4096]),
      grid('loop', 'fp8', ['balanced'], [256, 4096]),
    ],
    products: [
      grid('fused', 'bf16', ['balanced', 'power-law'], [64, 1024]),
      grid('fused', 'fp8', ['balanced'], [64, 1024]),
    ],
    tokens: [1, 64, 1024, 4096, 16_384],
    rows: [64, 1024, 16_384, 131_072],
    dtypes: ['bf16', 'fp8'],
    copyBytes: [4 * KIB, 64 * KIB, MIB, 16 * MIB, 256 * MIB, 1024 * MIB],
    besideCopy: [
      { rows: 512, inner: 7168, columns: 4096, bytes: 64 * MIB },
      { rows: 8192, inner: 7168, columns: 4096, bytes: 64 * MIB },
      { rows: 8192, inner: 2880, columns: 5760, bytes: 64 * MIB },
    ],
  },
  quick: {
    repeats: 10,
    warmup: 2,
    longRunSeconds: 5,
    settings: [
      { ...gptOss, gpus: 4 },
      { ...deepseekV3, gpus: 8 },
    ],
    stages: [
      grid('fused', 'bf16', ['balanced', 'power-law'], [1, 64, 1024, 8192]),
      grid('loop', 'bf16', ['balanced'], [64, 1024]),
      grid('fused', 'fp8', ['balanced'], [64, 1024]),
    ],
    products: [grid('fused', 'bf16', ['balanced'], [1024])],
    tokens: [64, 4096],
    rows: [16_384],
    dtypes: ['bf16'],
    copyBytes: [64 * KIB, 16 * MIB, 256 * MIB],
    besideCopy: [{ rows: 8192, inner: 7168, columns: 4096, bytes: 64 * MIB }],
  },
  tiny: {
    repeats: 3,
    warmup: 1,
    longRunSeconds: 0.05,
    settings: [{ hiddenSize: 64, expertHiddenSize: 32, experts: 16, topK: 2, gpus: 2 }],
    stages: [
      grid('fused', 'bf16', ['balanced', 'power-law', 'log-normal', 'few-active'], [1, 16]),
      grid('loop', 'bf16', ['power-law'], [1, 16]),
      grid('loop', 'fp32', ['power-law'], [16]),
      grid('fused', 'fp8', ['balanced'], [16]),
    ],
    products: [grid('fused', 'bf16', ['power-law'], [16]), grid('loop', 'fp32', ['power-law'], [16])],
    tokens: [1, 48],
    rows: [16],
    dtypes: ['bf16'],
    copyBytes: [64 * KIB],
    besideCopy: [{ rows: 32, inner: 64, columns: 64, bytes: 64 * KIB }],
  },
};

function grid(layout: Layout, dtype: Dtype, routings: RoutingName[], tokens: number[]): Grid {
  return { layout, dtype, routings, tokens };
}

/** Rows above which a case is left out: its activations alone take a good part of the GPU's memory. */
const MOST_ROWS = 1 << 18;

/**
 * What to measure. `full` holds what the cost model is fitted to, within ten minutes on a data-centre GPU:
 * some 25 s to start, 8 long runs of 5 s (four shapes, two formats), and about 500 cases of at most half a
 * second each on average, most of it making inputs and checking outputs. `estimateSeconds` gives 260 s; a test
 * holds it below 480 s, and no GPU has been asked yet. `quick` takes about a minute: two shapes, few points.
 * `tiny` has shapes that a CPU does in no time.
 *
 * @param trace routing that windows of counts are taken from besides, for shapes with as many experts and
 *   choices as it has; where there is none, for the first shape
 */
export function measurementPlan(name: PlanName, trace: Trace | null = null): MeasurementPlan {
  const spec = SPECS[name];
  const cases = [
    ...overheads(spec),
    ...tokenKernels(spec),
    ...spec.settings.flatMap((setting) => [...products(spec, setting), ...stages(spec, setting)]),
    ...(trace ? recordedStages(spec, trace) : []),
  ];
  const { repeats, warmup, longRunSeconds } = spec;
  return { name, cases: different(cases), repeats, warmup, longRunSeconds };
}

function different(cases: Case[]): Case[] {
  return [...new Map(cases.map((wanted) => [caseKey(wanted), wanted])).values()];
}

function overheads({ copyBytes, besideCopy, dtypes }: PlanSpec): Case[] {
  return [
    { op: 'launch' },
    { op: 'host-sync' },
    ...copyBytes.map((bytes): Case => ({ op: 'copy', direction: 'device-to-device', bytes })),
    ...copyBytes.map((bytes): Case => ({ op: 'copy', direction: 'host-to-device', bytes })),
    ...besideCopy.map((sizes): Case => ({ op: 'gemm-beside-copy', ...sizes, dtype: dtypes[0] })),
  ];
}

function tokenKernels({ settings, tokens, rows, dtypes }: PlanSpec): Case[] {
  return settings.flatMap(({ hiddenSize, expertHiddenSize, experts, topK }): Case[] => [
    ...tokens.flatMap((count): Case[] => [
      ...dtypes.map((dtype): Case => ({ op: 'permute', tokens: count, topK, hiddenSize, dtype })),
      { op: 'unpermute', tokens: count, topK, hiddenSize, dtype: dtypes[0] },
      { op: 'top-k', tokens: count, experts, topK },
    ]),
    ...rows.map((count): Case => ({ op: 'activation', rows: count, expertHiddenSize, dtype: dtypes[0] })),
  ]);
}

function stages(spec: PlanSpec, setting: Setting): Case[] {
  return spec.stages.flatMap((entry) =>
    countsOf(entry, setting).map((given) => stage(entry.layout, entry.dtype, setting, given)),
  );
}

function products(spec: PlanSpec, setting: Setting): Case[] {
  const { hiddenSize, expertHiddenSize } = setting;
  return spec.products.flatMap((entry) =>
    countsOf(entry, setting).flatMap((given): Case[] => {
      const { layout, dtype } = entry;
      return [
        { op: 'grouped-gemm', layout, inner: hiddenSize, columns: 2 * expertHiddenSize, dtype, ...given },
        { op: 'grouped-gemm', layout, inner: expertHiddenSize, columns: hiddenSize, dtype, ...given },
      ];
    }),
  );
}

function recordedStages({ settings, stages: [{ layout, dtype }] }: PlanSpec, trace: Trace): Case[] {
  const { experts, topK } = trace.header;
  const alike = settings.filter((setting) => setting.experts === experts && setting.topK === topK);
  const chosen =
    alike.length > 0 ? alike : [{ ...settings[0], gpus: experts % settings[0].gpus ? 1 : settings[0].gpus }];
  return chosen.flatMap((setting) =>
    traceCounts(trace, setting.gpus).map((given) => stage(layout, dtype, setting, given)),
  );
}

function countsOf({ routings, tokens }: Grid, setting: Setting): GivenCounts[] {
  return routings
    .flatMap((routing) => tokens.map((count) => drawCounts(routing, setting, count)))
    .filter(({ counts }) => rowsOf(counts) <= MOST_ROWS);
}

function stage(layout: Layout, dtype: Dtype, setting: Setting, given: GivenCounts): Case {
  const { hiddenSize, expertHiddenSize } = setting;
  return {
    op: 'expert-stage',
    layout,
    hiddenSize,
    expertHiddenSize,
    weightDtype: dtype,
    activationDtype: dtype,
    ...given,
  };
}

function rowsOf(counts: readonly number[]): number {
  return counts.reduce((sum, n) => sum + n, 0);
}

/**
 * Which cases get a long run: of every shape and format of an expert the one with most balanced rows, fused
 * where that can be had.
 * @param cases that the device can time
 */
export function longRunCases(cases: readonly Case[]): Set<Case> {
  const chosen = new Map<string, ExpertStageCase>();
  for (const wanted of cases) {
    if (wanted.op !== 'expert-stage') continue;
    const { hiddenSize, expertHiddenSize, weightDtype, activationDtype } = wanted;
    const shape = [hiddenSize, expertHiddenSize, weightDtype, activationDtype].join();
    const best = chosen.get(shape);
    if (!best || isBetterForLongRun(wanted, best)) chosen.set(shape, wanted);
  }
  return new Set(chosen.values());
}

function isBetterForLongRun(a: ExpertStageCase, b: ExpertStageCase): boolean {
  const rank = ({ layout, routing, counts }: ExpertStageCase) => [
    Number(layout === 'fused'),
    Number(routing === 'balanced'),
    rowsOf(counts),
  ];
  const [ranksA, ranksB] = [rank(a), rank(b)];
  const at = ranksA.findIndex((value, i) => value !== ranksB[i]);
  return at >= 0 && ranksA[at] > ranksB[at];
}
