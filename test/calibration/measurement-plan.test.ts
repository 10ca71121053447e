import { describe, expect, it } from 'vitest';
import {
  caseKey,
  caseSchema,
  describeCase,
  estimateSeconds,
  longRunCases,
  measurementPlan,
  PLAN_NAMES,
  type Case,
} from '../../src/calibration/index.js';
import { readTrace } from '../../src/files/index.js';
import type { CountTrace } from '../../src/routing/index.js';
import { root } from '../cli/epsim.js';

type Stage = Extract<Case, { op: 'expert-stage' }>;
const stagesOf = (cases: Case[]) => cases.filter((one): one is Stage => one.op === 'expert-stage');
const rowsOf = ({ counts }: Stage) => counts.reduce((sum, n) => sum + n, 0);
const full = measurementPlan('full');

describe.each(PLAN_NAMES)('plan %s', (name) => {
  const plan = measurementPlan(name);

  it('has cases that are valid, different and the same every time', () => {
    plan.cases.forEach((one) => expect(caseSchema.parse(one)).toEqual(one));
    expect(new Set(plan.cases.map(caseKey)).size).toBe(plan.cases.length);
    expect(measurementPlan(name)).toEqual(plan);
  });

  it('describes every case in a line of its own, but for counts of equal sums', () => {
    plan.cases.forEach((one) => expect(describeCase(one)).toMatch(/^[a-z-]+( .+)?$/));
  });

  it('times every kind of case', () => {
    const ops = new Set(plan.cases.map(({ op }) => op));
    expect([...ops].sort()).toEqual(
      [
        'activation',
        'copy',
        'expert-stage',
        'gemm-beside-copy',
        'grouped-gemm',
        'host-sync',
        'launch',
        'permute',
        'top-k',
        'unpermute',
      ].sort(),
    );
  });
});

describe('the full plan', () => {
  const stages = stagesOf(full.cases);

  it('fits into ten minutes with room to spare, the quick one into a good minute', () => {
    expect(estimateSeconds(full)).toBeLessThan(480);
    expect(estimateSeconds(measurementPlan('quick'))).toBeLessThan(75);
    expect(estimateSeconds(measurementPlan('quick'))).toBeGreaterThan(4 * 5);
  });

  it('has the shapes of four families, in both formats and both layouts', () => {
    const shapes = new Set(stages.map((one) => `${one.hiddenSize}x${one.expertHiddenSize}`));
    expect(shapes).toEqual(new Set(['2880x2880', '7168x2048', '2048x768', '2048x2048']));
    expect(new Set(stages.map(({ weightDtype, layout }) => `${layout} ${weightDtype}`)).size).toBe(4);
  });

  it('has 4 to 128 experts on a GPU, few and many of them active, from few rows to as many as fit', () => {
    const experts = stages.map(({ counts }) => counts.length);
    expect([Math.min(...experts), Math.max(...experts)]).toEqual([4, 128]);
    const active = stages.map(({ counts }) => counts.filter((n) => n > 0).length / counts.length);
    expect(Math.min(...active)).toBeLessThan(0.1);
    expect(Math.max(...active)).toBe(1);
    const rows = stages.map(rowsOf);
    expect(Math.min(...rows)).toBeLessThanOrEqual(8);
    expect(Math.max(...rows)).toBeGreaterThanOrEqual(16_384 * 8);
    expect(Math.max(...rows)).toBeLessThanOrEqual(1 << 18);
  });

  it('has balanced counts that are balanced, and skewed ones that are skewed', () => {
    const skewOf = (one: Stage) => (Math.max(...one.counts) * one.counts.length) / rowsOf(one);
    for (const one of stages.filter(({ routing }) => routing === 'balanced')) {
      const active = one.counts.filter((n) => n > 0);
      expect(Math.max(...active) - Math.min(...active)).toBeLessThanOrEqual(1);
    }
    const large = stages.filter((one) => rowsOf(one) > 4096 && one.counts.length >= 16);
    for (const routing of ['power-law', 'log-normal', 'few-active']) {
      const skews = large.filter((one) => one.routing === routing).map(skewOf);
      expect(Math.min(...skews)).toBeGreaterThan(1.5);
    }
  });

  it('has one long run of at least 5 s per shape and format', () => {
    expect(full.longRunSeconds).toBeGreaterThanOrEqual(5);
    const chosen = stagesOf([...longRunCases(full.cases)]);
    expect(chosen).toHaveLength(8);
    chosen.forEach((one) => expect([one.layout, one.routing]).toEqual(['fused', 'balanced']));
  });
});

describe('windows of a recording', () => {
  const added = (cases: Case[]) => stagesOf(cases).filter(({ routing }) => routing.startsWith('trace'));

  it('are counts of the busiest GPU, of the first shape where no other has its experts', async () => {
    const { trace } = await readTrace('traces/quickstart.parquet', root);
    const windows = added(measurementPlan('full', trace).cases);
    const { layerIds, topK, experts } = trace.header;
    expect(windows.length).toBe(3 * Math.min(3, layerIds.length));
    windows.forEach(({ counts, hiddenSize }) =>
      expect([hiddenSize, counts.length]).toEqual([2880, experts / 4]),
    );
    const [small] = windows;
    expect(small.routing).toMatch(/^trace, layer \d+, tokens \d+ to \d+$/);
    expect(rowsOf(small)).toBeGreaterThanOrEqual((64 * topK) / 4);
    expect(rowsOf(small)).toBeLessThanOrEqual(64 * topK);
    expect(measurementPlan('full', trace)).toEqual(measurementPlan('full', trace));
  });

  it('are recorded steps where only counts were recorded, of the shapes with as many experts', () => {
    const loads = Int32Array.from({ length: 2 * 256 }, (_, i) => (i % 256 < 8 ? 10 : 0));
    const header = {
      schema: 'epsim/trace@1',
      kind: 'counts',
      experts: 256,
      topK: 8,
      model: 'x',
    } as const;
    const trace: CountTrace = {
      kind: 'counts',
      header: { ...header, layerIds: [3], source: '', licence: '', notes: [] },
      steps: [{ calibration: false, layers: [loads] }],
    };
    const windows = added(measurementPlan('full', trace).cases);
    expect(windows.map(({ counts }) => counts.length)).toEqual([32, 8]);
    windows.forEach((one) => expect([one.hiddenSize, rowsOf(one)]).toEqual([7168, 2 * 8 * 10]));
    expect(windows[0].routing).toBe('trace, layer 3, step 0');
  });
});
