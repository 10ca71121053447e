import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { chartKinds, chartPage, chartSvg, groupRows, type TableRow } from '../../src/report/index.js';
import { paretoFront } from '../../src/report/charts/pareto.js';

/** A row of a sweep over batch and alpha. */
const row = (batch: number, alpha: number, seed: number, kind: string, speedup: number): TableRow => ({
  batch,
  alpha,
  seed,
  policy_kind: kind,
  policy_index: kind === 'ep' ? 0 : 1,
  speedup,
});

const rows = [1, 2].flatMap((batch) =>
  [1, 1.5].flatMap((alpha) =>
    [1, 2].flatMap((seed) => [
      row(batch, alpha, seed, 'ep', 1),
      row(batch, alpha, seed, 'llep', batch + alpha + seed / 10),
    ]),
  ),
);

const select = (shown: string[], where: Record<string, string>) =>
  groupRows(rows, { swept: ['batch', 'alpha'], shown, needed: ['speedup'], where }, 'table');

const options = { title: 'a <title>', subtitle: '', x: 'batch', y: null, value: 'speedup', log: false };
const chart = (kind: string) => chartKinds.find((known) => known.kind === kind)!;
const valuesOf = (drawn: object) => (drawn as { data: { values: Record<string, unknown>[] } }).data.values;

describe('groups of rows', () => {
  it('differ in nothing but the seed', () => {
    const groups = select(['batch'], { alpha: '1.5', policy_kind: 'llep' });
    expect(groups.map(({ key, rows }) => [key.batch, rows.map(({ seed }) => seed)])).toEqual([
      [1, [1, 2]],
      [2, [1, 2]],
    ]);
  });

  it.each<[string[], Record<string, string>, string]>([
    [
      ['batch'],
      {},
      'table: alpha: found 2 values that the chart does not show, allowed: one of them, as --where alpha=1',
    ],
    [['batch'], { alpha: '3' }, 'table: found no row where alpha=3, allowed: alpha: 1, 1.5'],
    [['batsch'], {}, 'table: batsch: found no such column, allowed: batch, alpha'],
  ])('%j where %j is refused', (shown, where, message) => {
    expect(() => select(shown, where)).toThrow(message);
  });
});

describe('charts', () => {
  it('lines: means over seeds with 90 % intervals, a line for each policy', () => {
    const drawn = chart('lines').draw(select(['batch'], { alpha: '1' }), options);
    const llep = valuesOf(drawn).filter(({ line }) => line === 'llep');
    expect(llep.map(({ x }) => x)).toEqual([1, 2]);
    // Values 2.1 and 2.2: mean 2.15, deviation 0.0707; t(0.95, 1) = 6.3138; half width 6.3138 · 0.05
    expect(llep[0].mean).toBeCloseTo(2.15, 12);
    expect(llep[0].low).toBeCloseTo(2.15 - 0.31569, 4);
    expect(llep[0].high).toBeCloseTo(2.15 + 0.31569, 4);
  });

  it('heat map: one policy, a cell for each pair', () => {
    const groups = select(['batch', 'alpha'], { policy_kind: 'llep' });
    const drawn = chart('heat-map').draw(groups, { ...options, y: 'alpha' });
    expect(valuesOf(drawn).map(({ x, y, value }) => [x, y, Number((value as number).toFixed(9))])).toEqual([
      [1, 1, 2.15],
      [1, 1.5, 2.65],
      [2, 1, 3.15],
      [2, 1.5, 3.65],
    ]);
    expect(() => chart('heat-map').draw(select(['batch', 'alpha'], {}), { ...options, y: 'alpha' })).toThrow(
      '--policy: found rows of ep, llep, allowed: one of them',
    );
  });

  it('pareto tells choices apart and not what one is faced with', () => {
    const place = (path: string) => ({ path, column: path, type: 'number' as const });
    const swept = ['workload.tokensPerGpu', '/model/topK', 'policies[1].alpha', 'cluster.gpus'].map(place);
    expect(chart('pareto').shown(options, swept)).toEqual(['policies[1].alpha', 'cluster.gpus']);
  });

  const coordinate = fc.integer({ min: 0, max: 6 });
  test.prop([fc.array(fc.record({ x: coordinate, y: coordinate }), { maxLength: 20 })])(
    'the front holds exactly the points that none is better than',
    (points) => {
      const isBeaten = (p: { x: number; y: number }) =>
        points.some((q) => q.x <= p.x && q.y <= p.y && (q.x < p.x || q.y < p.y));
      expect(paretoFront(points)).toEqual(points.map((point) => !isBeaten(point)));
    },
  );

  it.each(chartKinds.map(({ kind }) => kind))('%s: labels of one axis never overlap', async (kind) => {
    const long = Array.from({ length: 40 }, (_, i) => row(100_000 + 977 * i, 1, 1, 'llep', 1 + i));
    const known = chart(kind);
    const swept = ['batch', 'alpha'];
    const asked = {
      ...options,
      x: kind === 'pareto' ? 'speedup' : 'batch',
      y: kind === 'lines' ? null : 'alpha',
    };
    const shown = kind === 'lines' ? ['batch'] : swept;
    const groups = groupRows(long, { swept, shown, needed: [], where: {} }, 'table');
    const svg = await chartSvg(known.draw(groups, asked));
    const axis = /role-axis-label"[^>]*>(.*?)<\/g>/s.exec(svg)![1];
    const labels = [...axis.matchAll(/translate\(([-\d.]+),[^>]*>([^<]*)<\/text>/g)]
      .filter(([all, , text]) => !all.includes('opacity="0"') && text !== '')
      .map(([, x, text]) => ({ x: Number(x), text }));
    expect(labels.length).toBeGreaterThan(1);
    // 11 px letters of Helvetica are about 6 px wide
    for (let i = 1; i < labels.length; i++) {
      const gap = Math.abs(labels[i].x - labels[i - 1].x);
      expect(gap).toBeGreaterThan(3 * (labels[i].text.length + labels[i - 1].text.length));
    }
  });

  it('a page holds picture and numbers, and no script', async () => {
    const page = await chartPage(chart('lines').draw(select(['batch'], { alpha: '1' }), options));
    expect(page).toContain('<title>a &lt;title&gt;</title>');
    expect(page).toContain('<svg');
    expect(page).toContain('<tr><td>1</td><td>llep</td><td>2.15');
    expect(page).not.toMatch(/<script|http-equiv|onload/);
  });
});
