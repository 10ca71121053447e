import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { beforeAll, describe, expect, it } from 'vitest';
import { reportPage } from '../../src/report/index.js';
import { figuresOf } from '../../src/report/page/figures/index.js';
import { pageData } from '../../src/report/page/page-data.js';
import type { Figure } from '../../src/report/page/figure.js';
import type { Recording, Result } from '../../src/simulation/index.js';
import { openScenario, runOpened } from '../../src/run.js';
import { epsim, root, small, workFolder, writeJson } from '../cli/epsim.js';
import { byHand, handFile, record, type Recorded } from './record.js';

let hand: Recorded;
let figures: Map<string, Figure>;

beforeAll(async () => {
  hand = await record(byHand(), { file: handFile });
  figures = new Map(figuresOf(pageData(hand.result, hand.recording)).map((figure) => [figure.id, figure]));
});

/** A new folder inside another one. */
const folderIn = (parent: string) => mkdtempSync(join(parent, 'case-'));

/** What a figure's first chart is drawn from. */
const valuesOf = (id: string) =>
  (figures.get(id)!.charts[0].data as { values: Record<string, number | string>[] }).values;
const row = (id: string, name: string) => figures.get(id)!.table.rows.filter(([first]) => first === name);

describe('figures of the case worked out by hand (test/golden)', () => {
  it('Gantt: GPU 1 computes from 6 to 205 ms and waits until 249 ms', () => {
    const bars = valuesOf('gantt').filter(({ policy, top }) => policy === 'ep' && Number(top) >= 1);
    const rounded = bars.map(({ activity, start, end }) => [
      activity,
      Math.round(Number(start)),
      Math.round(Number(end)),
    ]);
    expect(rounded).toEqual([
      ['exchange', 0, 6],
      ['expert kernels', 6, 205],
      ['waiting', 205, 249],
      ['exchange', 249, 255],
    ]);
    // Lanes are inside their GPU's row and do not cover each other.
    for (const { top, bottom } of bars) expect(Number(bottom) - Number(top)).toBeCloseTo(0.25, 12);
  });

  it('time: 243 ms of kernels and 12 ms of exchange on the path, 22 ms of waiting a GPU', () => {
    const ep = valuesOf('time').filter(({ policy }) => policy === 'ep');
    expect(ep.map(({ activity }) => activity)).toEqual(['exchange', 'expert kernels']);
    expect(ep.map(({ ms }) => Math.round(Number(ms)))).toEqual([12, 243]);
    expect(row('time', 'ep')[0].slice(-2)).toEqual(['255.0 ms', '22.00 ms']);
  });

  it('loads: 12 and 8 copies at home, 10 and 10 under llep; traffic of 6 and 4', () => {
    expect(figures.get('loads')!.table.rows.map((cells) => cells.slice(0, 4))).toEqual([
      ['0', '12', '12', '10'],
      ['1', '8', '8', '10'],
    ]);
    expect(row('traffic', 'ep')).toEqual([
      ['ep', '0', '6', '4'],
      ['ep', '1', '6', '4'],
    ]);
    // One layer: the bars say it all.
    expect(figures.has('layers')).toBe(false);
  });

  it('memory: stacked to 42,400 bytes on GPU 0, below a limit of 70,000', () => {
    const ep = valuesOf('memory').filter(({ policy }) => policy === 'ep');
    const bytes = (value: string | number) => Math.round(Number(value) * 2 ** 30);
    expect(Math.max(...ep.map(({ top }) => bytes(top)))).toBe(42_400);
    expect(ep.every(({ limit }) => bytes(limit) === 70_000)).toBe(true);
    // Replicas and borrowed weights take nothing, intermediates and what is combined nothing yet.
    const first = ep.filter(({ start }) => start === 0);
    expect(first.map(({ category, bottom, top }) => [category, bytes(bottom), bytes(top)])).toEqual([
      ['weights', 0, 30_000],
      ['activations', 30_000, 34_000],
      ['dispatch buffers', 34_000, 36_400],
    ]);
    const weights = ep.filter(({ category }) => category === 'weights');
    expect(weights).toHaveLength(1);
  });

  it('uncertainty: the first guess of the kernel weighs most', () => {
    const experts = valuesOf('uncertainty').find(({ source }) => source === 'experts')!;
    const share = 243 / 255;
    expect(experts.low).toBeCloseTo(share * 0.8 + 1 - share, 12);
    expect(experts.high).toBeCloseTo(share * 4 + 1 - share, 12);
  });

  it('every figure says what it shows, and has its numbers in a table', () => {
    expect(figures.size).toBe(8);
    for (const { title, text, charts, table } of figures.values()) {
      expect(title.length * text.length * charts.length * table.rows.length).toBeGreaterThan(0);
      for (const cells of table.rows) expect(cells).toHaveLength(table.head.length);
    }
  });
});

describe('a page', () => {
  it('has heat maps of layers where there are several, on even load all 1', async () => {
    const { result, recording } = await record({
      ...small,
      workload: { ...small.workload, layer: 'all' },
      policies: ['balanced'],
    });
    const layers = figuresOf(pageData(result, recording)).find(({ id }) => id === 'layers')!;
    expect(layers.table.rows.filter(([name]) => name.startsWith('balanced'))).toEqual(
      [0, 1].map((layer) => ['balanced (anchor)', String(layer), '1.00', '1.00', '1.00', '1.00']),
    );
  });

  it('draws every policy by itself, however long and alike their names are', async () => {
    const placement = { kind: 'eplb' as const, groups: 1, avoidDuplicates: true };
    const eplb = (steps: number) => ({
      kind: 'eplb' as const,
      placement,
      dispatch: 'least-loaded' as const,
      history: { kind: 'window' as const, steps, interval: 1, staleness: 0, skipAbove: 0.9 },
    });
    const { result, recording } = await record({
      ...small,
      workload: { ...small.workload, steps: 5 },
      policies: ['ep', eplb(1), eplb(2), eplb(3)],
    });
    const drawn = figuresOf(pageData(result, recording));
    for (const id of ['gantt', 'loads', 'traffic', 'memory']) {
      const [{ data }] = drawn.find((figure) => figure.id === id)!.charts;
      const panels = new Map<string, Set<number>>();
      for (const { policy, place } of (data as { values: { policy: string; place: number }[] }).values) {
        panels.set(policy, (panels.get(policy) ?? new Set()).add(place));
      }
      expect(
        [...panels.values()].map((places) => places.size),
        id,
      ).toEqual(result.policies.map(() => 1));
    }
  });

  it('of many GPUs shows the one that others wait for, under every policy', async () => {
    const { result, recording } = await record({
      ...small,
      model: { ...small.model, experts: 64 },
      cluster: { gpu: 'h100', gpus: 32 },
      workload: { ...small.workload, routing: { kind: 'log-normal', sigma: 1 } },
    });
    const gantt = figuresOf(pageData(result, recording)).find(({ id }) => id === 'gantt')!;
    for (const name of ['ep', 'llep']) {
      const waits = gantt.table.rows.filter(
        ([policy, , , what]) => policy === name && what.startsWith('wait'),
      );
      const shown = new Set(gantt.table.rows.filter(([policy]) => policy === name).map(([, gpu]) => gpu));
      const waiting = new Set(waits.filter(([, , , what]) => what.includes('experts')).map(([, gpu]) => gpu));
      // Whoever is last before an exchange waits for nobody.
      expect(shown.size).toBeGreaterThan(waiting.size);
    }
  });

  it('says which layers a picture shows where not all were kept', async () => {
    const { result, recording } = await record(
      { ...small, model: { ...small.model, moeLayers: 4 }, workload: { ...small.workload, layer: 'all' } },
      { mostEvents: 1 },
    );
    const text = (id: string) => figuresOf(pageData(result, recording)).find((own) => own.id === id)!.text;
    expect(text('memory')).toContain('the first 1 of its 4 layers, which alone were kept');
    expect(text('gantt')).toContain('of the first 1 of 4 layers, which alone were kept,');
  });

  it('shows the loads of the most uneven layer, not the sum that hides it', async () => {
    const { result, recording } = await record({
      ...small,
      workload: {
        ...small.workload,
        layer: 'all',
        routing: { kind: 'log-normal', sigma: 1, redraw: 'run' },
      },
    });
    const loads = figuresOf(pageData(result, recording)).find(({ id }) => id === 'loads')!;
    const shares = recording.homeLoads.map((own) => Math.max(...own) / own.reduce((a, b) => a + b, 0));
    const layer = shares.indexOf(Math.max(...shares));
    expect(loads.text).toContain(`in layer ${recording.layers[layer]}, the most uneven`);
    expect(loads.table.rows.map(([, home]) => Number(home.replaceAll(',', '')))).toEqual(
      recording.homeLoads[layer].map(Math.round),
    );
  });

  it.each([
    [
      'scenarios/systems/gpu-lost.json',
      ['throughput left', 'recovery', 'Pictures are of steps before the first fault'],
    ],
    ['scenarios/model/kv-imbalance.json', ['The whole model', 'KV tokens per GPU', 'time per token']],
    ['scenarios/gpt-oss-20b-training.json', ['A training step: time', 'The fullest GPU at its peak']],
  ])('holds the tables that epsim run prints: %s', async (file, wanted) => {
    const path = join(root, file);
    const opened = await openScenario(JSON.parse(readFileSync(path, 'utf8')), {
      file: path,
      baseDir: dirname(path),
    });
    const page = await reportPage(runOpened(opened).result, null);
    for (const words of wanted) expect(page).toContain(words);
  });

  it('runs nothing and asks for nothing, whatever names it shows', async () => {
    const evil = `"'><script>alert(1)</script><img src="http://x.invalid/y" onerror=alert(2)>\${alert(3)}`;
    const result = structuredClone(hand.result) as Result & { scenario: { name: string } };
    const recording = structuredClone(hand.recording);
    result.scenario.name = evil;
    result.model = evil;
    result.cluster.gpu = evil;
    result.version = evil;
    result.profile.name = evil;
    result.routing.notes = [evil];
    result.routing.interval = evil;
    result.policies[0].uncertainty[0].source = evil as 'experts';
    Object.assign(result.policies[1].policy, { [evil]: evil });
    recording.policies[0].steps[0].layers[0].slices[0].stream = evil;
    recording.memoryCategories = recording.memoryCategories.map(
      (category) => `${category}${evil}` as 'weights',
    );
    const page = await reportPage(result, recording);
    expect(page).toContain('alert(1)');
    expect(page).not.toMatch(/<script|<img|<iframe|<object|<link/i);
    // Inside tags, attributes hold none of it unquoted.
    for (const [tag] of page.matchAll(/<[a-z][^>]*>/gi)) {
      expect(tag.replaceAll(/"[^"]*"/g, '""'), tag).not.toMatch(/\son\w+=|javascript:|https?:/i);
    }
    expect(page.replaceAll(/xmlns(:xlink)?="[^"]*"/g, '')).not.toMatch(/\b(src|href)="(?!#)/);
    expect(page).toContain(`content="default-src 'none'; style-src 'unsafe-inline'"`);
  });

  it('without a recording says what is missing, and how to get it', async () => {
    const page = await reportPage(hand.result, null);
    expect(page).toContain('No recording of a step is kept beside this result');
    expect(page).not.toContain('id="gantt"');
    expect(page).toContain('id="latency"');
  });
});

describe('epsim run --report, epsim report', () => {
  const folder = workFolder();
  const scenario = writeJson(folder, 'small.json', small);
  const kept = () => join(folder, 'out', readdirSync(join(folder, 'out'))[0]);

  it('draw the same page of a run and of its kept result', () => {
    const page = join(folder, 'page.html');
    const ran = epsim(['run', scenario, '--out', join(folder, 'out'), '--report', page]);
    expect(ran.status).toBe(0);
    expect(readdirSync(kept()).sort()).toEqual(['recording.json.gz', 'result.json', 'steps.csv']);
    const drawn = epsim(['report', kept()]);
    expect([drawn.status, drawn.stdout]).toEqual([0, '']);
    expect(readFileSync(join(kept(), 'report.html'), 'utf8')).toBe(readFileSync(page, 'utf8'));
    expect(ran.stdout).toContain(
      /class="verdict">([^<&]*)/.exec(readFileSync(page, 'utf8'))![1].slice(0, 40),
    );
  });

  it.each<[string, (result: Result, recording: Recording) => [unknown, unknown], string]>([
    [
      'a result without its notes',
      (r, s) => [{ ...r, routing: {} }, s],
      'result.json: routing.steps: found nothing',
    ],
    [
      'a recording of other policies',
      (r, s) => [r, { ...s, policies: s.policies.slice(1) }],
      'recording.json.gz: policies',
    ],
    ['a recording without loads', (r, s) => [r, { ...s, homeLoads: [] }], 'recording.json.gz: homeLoads'],
  ])('%s is bad input', (_, change, message) => {
    const result = JSON.parse(readFileSync(join(kept(), 'result.json'), 'utf8')) as Result;
    const packed = readFileSync(join(kept(), 'recording.json.gz'));
    const recording = JSON.parse(gunzipSync(packed).toString()) as Recording;
    const [changed, changedRecording] = change(result, recording);
    const other = folderIn(folder);
    writeFileSync(join(other, 'result.json'), JSON.stringify(changed));
    writeFileSync(join(other, 'recording.json.gz'), gzipSync(JSON.stringify(changedRecording)));
    const { status, stderr } = epsim(['report', other]);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain('    at ');
    expect(status).toBe(2);
    expect(existsSync(join(other, 'report.html'))).toBe(false);
  });

  it('a damaged recording, and no result at all, are bad input', () => {
    const other = folderIn(folder);
    expect(epsim(['report', other]).status).toBe(2);
    writeFileSync(join(other, 'result.json'), readFileSync(join(kept(), 'result.json')));
    writeFileSync(
      join(other, 'recording.json.gz'),
      readFileSync(join(kept(), 'recording.json.gz')).subarray(0, 99),
    );
    const { status, stderr } = epsim(['report', other]);
    expect([status, stderr]).toEqual([
      2,
      expect.stringContaining('found a gzip file that is cut short or damaged'),
    ]);
  });
});
