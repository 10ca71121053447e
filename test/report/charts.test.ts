import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import {
  chartKinds,
  chartPage,
  chartPicture,
  chartSvg,
  groupRows,
  type TableRow,
} from '../../src/report/index.js';
import { placeLabels } from '../../src/report/charts/labels.js';
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

/** Of the table; rows that were read have fewer. */
const columns = [...Object.keys(rows[0]), 'exact', 'p99'];

const select = (shown: string[], where: Record<string, string>) =>
  groupRows(rows, { swept: ['batch', 'alpha'], shown, needed: ['speedup'], columns, where }, 'table');

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
    [
      ['batsch'],
      {},
      'table: batsch: found no such column, allowed: batch, alpha, seed, policy_kind, policy_index, speedup, exact, p99',
    ],
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

  it('lines: what a policy does not depend on makes one line of it', () => {
    const drawn = chart('lines').draw(select(['batch', 'alpha'], {}), { ...options, y: 'alpha' });
    expect([...new Set(valuesOf(drawn).map(({ line }) => line))]).toEqual([
      'ep, any alpha',
      'llep, alpha = 1',
      'llep, alpha = 1.5',
    ]);
  });

  it('lines: no two are drawn alike, and more than can be told apart are refused', async () => {
    const many = (count: number) =>
      [1, 2].flatMap((batch) => Array.from({ length: count }, (_, i) => row(batch, i, 1, 'llep', batch * i)));
    const drawn = (count: number) =>
      chart('lines').draw(
        groupRows(
          many(count),
          { swept: ['batch', 'alpha'], shown: ['batch', 'alpha'], needed: [], columns, where: {} },
          'table',
        ),
        { ...options, y: 'alpha' },
      );
    const svg = await chartSvg(drawn(16));
    const looks = [...svg.matchAll(/<path [^>]*aria-roledescription="line mark"[^>]*>/g)].map(([path]) =>
      [/stroke="([^"]+)"/, /stroke-dasharray="([^"]+)"/].map((look) => look.exec(path)![1]).join(' '),
    );
    expect(looks).toHaveLength(16);
    expect(new Set(looks).size).toBe(16);
    expect(() => drawn(29)).toThrow('--where: found 29 lines, allowed: at most 28');
  });

  /** Rows of a front: step seconds and bytes of a choice. */
  const choice = (kind: string, index: number, alpha: number, step: number, bytes: number) => ({
    ...row(1, alpha, 1, kind, 1),
    policy_index: index,
    step_mean_s: step,
    peak_memory_bytes: bytes,
    exact: kind !== 'capacity',
  });
  const onFront = (extra: Partial<typeof options> = {}) => {
    const table = [1, 1.5].flatMap((alpha) => [
      choice('ep', 0, alpha, 3, 2 * 2 ** 30),
      choice('llep', 1, alpha, 2 + alpha / 10, (5 - 2 * alpha) * 2 ** 30),
      choice('capacity', 2, alpha, 1, 1.5 * 2 ** 30),
    ]);
    const at = { x: 'step_mean_s', y: 'peak_memory_bytes' };
    const groups = groupRows(
      table,
      { swept: ['alpha'], shown: ['alpha'], needed: [], columns: Object.keys(table[0]), where: {} },
      'table',
    );
    return chart('pareto').draw(groups, { ...options, ...at, ...extra });
  };

  it('pareto: exact and inexact policies have fronts of their own', () => {
    // What alpha does not change is one choice.
    expect(
      valuesOf(onFront()).map(({ policy, setting, output, front }) => [policy, setting, output, front]),
    ).toEqual([
      ['ep', '', 'exact', false],
      ['llep', 'alpha=1', 'exact', true],
      ['llep', 'alpha=1.5', 'exact', true],
      ['capacity (inexact)', '', 'inexact', true],
    ]);
    const { subtitle } = (onFront() as { title: { subtitle: string[] } }).title;
    expect(subtitle.join(' ')).toContain(
      'inexact policies, which change the output, and a front of their own',
    );
  });

  it('pareto: front points carry their values, and no point lies on the frame', async () => {
    for (const log of [false, true]) {
      const drawn = onFront({ log });
      const svg = await chartSvg(drawn);
      for (const label of ['alpha=1', 'alpha=1.5', 'capacity (inexact)'])
        expect(svg).toContain(`>${label}</text>`);
      const points = [
        ...svg.matchAll(/aria-roledescription="point"[^>]*transform="translate\(([\d.]+),([\d.]+)\)"/g),
      ];
      expect(points).toHaveLength(4);
      for (const [, x, y] of points) {
        expect(Math.min(Number(x), Number(drawn.width) - Number(x))).toBeGreaterThan(20);
        expect(Math.min(Number(y), Number(drawn.height) - Number(y))).toBeGreaterThan(15);
      }
    }
  });

  it('bytes have round ticks in GiB', async () => {
    const svg = await chartSvg(onFront());
    expect(svg).toContain('>2.6 GiB</text>');
    expect(svg).not.toMatch(/>[\d.]+[GM]B</);
  });

  test.prop([
    fc.array(
      fc.record({
        x: fc.integer({ min: 0, max: 300 }),
        y: fc.integer({ min: 0, max: 200 }),
        text: fc.constantFrom('', 'alpha=1', 'alpha=1.25 threshold=2'),
      }),
      { maxLength: 12 },
    ),
  ])('labels never cover each other nor leave the plot, and none is lost', (points) => {
    const { labels, left } = placeLabels(points, { width: 300, height: 200 });
    expect(labels.length + left).toBe(points.filter(({ text }) => text !== '').length);
    const boxes = labels.map(({ x, y, text, align }) => {
      const width = 5.6 * text.length;
      return { from: align === 'left' ? x : x - width, to: align === 'left' ? x + width : x, y };
    });
    boxes.forEach((box, i) => {
      expect(box.from).toBeGreaterThanOrEqual(0);
      expect(box.to).toBeLessThanOrEqual(300);
      for (const other of boxes.slice(i + 1)) {
        const across = box.from < other.to - 1e-9 && other.from < box.to - 1e-9;
        expect(across && Math.abs(box.y - other.y) < 13 - 1e-9).toBe(false);
      }
    });
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
    const groups = groupRows(long, { swept, shown, needed: [], columns, where: {} }, 'table');
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

  it('a page holds picture and numbers under headings, and may run no script', async () => {
    const page = await chartPage(chart('lines').draw(select(['batch'], { alpha: '1' }), options));
    expect(page).toContain('<title>a &lt;title&gt; – epsim</title>');
    expect(page).toContain('<h1>a &lt;title&gt;</h1>');
    expect(page).toContain('<meta name="viewport"');
    expect(page).toContain(`content="default-src 'none'; style-src 'unsafe-inline'"`);
    expect(page).toContain('<svg role="img" aria-label="a &lt;title&gt;; its numbers follow in a table"');
    expect(page).toContain('<tr><th scope="row">1</th><td>llep</td><td>2.15');
    expect(page).not.toMatch(/<script|onload/);
  });

  it('a picture says what it is', async () => {
    const svg = await chartPicture(
      chart('lines').draw(select(['batch'], { alpha: '1' }), { ...options, subtitle: 'alpha = 1' }),
    );
    expect(svg).toMatch(
      /^<svg role="img" aria-label="a &lt;title&gt;. alpha = 1" [^>]*><title>a &lt;title&gt;. alpha = 1<\/title>/,
    );
  });
});
