import { fc, test } from '@fast-check/vitest';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compareTraces, inspectTrace } from '../../src/inspection/index.js';
import { loadStatistics } from '../../src/metrics/index.js';
import { rowsInMemory, type CountTrace, type TokenTrace } from '../../src/routing/index.js';
import { epsim, workFolder } from '../cli/epsim.js';
import { shared } from '../shared.js';

const header = {
  schema: 'epsim/trace@1' as const,
  model: 'test',
  source: '',
  licence: '',
  notes: [],
};

/** A trace of top-1 tokens: picks[sequence][token][layer]. */
function traceOf(picks: number[][][], experts: number, domains?: number[]): TokenTrace {
  const flat = picks.flat();
  const layers = flat[0].length;
  const starts = picks.reduce((all, sequence) => [...all, all[all.length - 1] + sequence.length], [0]);
  return {
    kind: 'tokens',
    header: {
      ...header,
      kind: 'tokens',
      experts,
      topK: 1,
      layerIds: Array.from({ length: layers }, (_, layer) => layer),
      ...(domains && { domains: ['a', 'b', 'c'] }),
    },
    tokens: flat.length,
    rows: rowsInMemory(flat.length, Uint8Array.from(flat.flat()), null),
    sequenceStarts: Int32Array.from(starts),
    sequenceDomains: domains ? Uint16Array.from(domains) : null,
    batches: null,
    phase: null,
    padding: null,
  };
}

const options = { ep: [2], batchTokens: 8 };
/** Whole numbers that look random and are always the same. */
const scattered = (i: number, below: number) =>
  ((Math.imul(i + 1, 2_654_435_761) >>> 8) ^ (i * 40_503)) % below;

describe('statistics of loads', () => {
  it('by hand: 1, 2, 3, 4', () => {
    const found = loadStatistics(Float64Array.of(4, 1, 3, 2));
    expect(found.maxOverMean).toBeCloseTo(1.6, 12);
    expect(found.balancedness).toBeCloseTo(0.625, 12);
    // 2 · (1·1 + 2·2 + 3·3 + 4·4) / (4 · 10) − 5/4
    expect(found.gini).toBeCloseTo(0.25, 12);
    // √1.25 / 2.5
    expect(found.coefficientOfVariation).toBeCloseTo(Math.sqrt(1.25) / 2.5, 12);
    const entropy = -[0.1, 0.2, 0.3, 0.4].reduce((sum, p) => sum + p * Math.log(p), 0) / Math.log(4);
    expect(found.entropy).toBeCloseTo(entropy, 12);
    expect(found.maxVioGlobal).toBeCloseTo(0.6, 12);
    expect(found.dead).toBe(0);
  });

  it('by hand: all on one of four', () => {
    expect(loadStatistics(Float64Array.of(0, 8, 0, 0))).toEqual({
      maxOverMean: 4,
      balancedness: 0.25,
      gini: 0.75,
      coefficientOfVariation: Math.sqrt(3),
      entropy: 0,
      maxVioGlobal: 3,
      dead: 3,
    });
  });

  test.prop([fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 2, maxLength: 64 })])(
    'stay within their ranges, and do not depend on the order or the scale',
    (loads) => {
      const found = loadStatistics(Float64Array.from(loads));
      expect(found.maxOverMean).toBeGreaterThanOrEqual(1);
      expect(found.maxOverMean).toBeLessThanOrEqual(loads.length);
      expect(found.gini).toBeGreaterThan(-1e-12);
      expect(found.gini).toBeLessThanOrEqual((loads.length - 1) / loads.length + 1e-12);
      expect(found.entropy).toBeLessThanOrEqual(1 + 1e-12);
      const other = loadStatistics(Float64Array.from(loads, (load) => 3 * load).reverse());
      expect(other.gini).toBeCloseTo(found.gini, 10);
      expect(other.maxOverMean).toBeCloseTo(found.maxOverMean, 10);
    },
  );
});

describe('what a trace shows', () => {
  it('adjacent tokens of a sequence, by hand', () => {
    // Layer 0 repeats in 1 of 3 pairs, layer 1 in 3 of 3; the border between sequences is no pair.
    const trace = traceOf(
      [
        [
          [0, 3],
          [0, 3],
          [1, 3],
        ],
        [
          [1, 2],
          [2, 2],
        ],
      ],
      4,
    );
    expect(inspectTrace(trace, options).reuse).toEqual({ share: 4 / 6, uniform: 1 / 4 });
  });

  it('layer-to-layer affinity: a function of the layer before, and independence', () => {
    const tokens = Array.from({ length: 4000 }, (_, i) => [scattered(i, 4), scattered(i, 4)]);
    // Each of four experts is always followed by itself: ¼ of the pairs on the diagonal against 1/16 by chance,
    // four times over: ½ · (4 · 3/16 + 12 · 1/16) = 3/4.
    const follows = inspectTrace(traceOf([tokens], 4), options).affinity!;
    expect(follows.distance).toBeCloseTo(0.75, 1);
    expect(follows.chance).toBeLessThan(0.1);
    const apart = tokens.map(([first], i) => [first, scattered(i * 7 + 3, 4)]);
    const independent = inspectTrace(traceOf([apart], 4), options).affinity!;
    expect(independent.distance).toBeLessThan(0.1);
  });

  const sequence = (domain: number, i: number, length = 40) =>
    Array.from({ length }, (_, t) => [4 * domain + scattered(i * 100 + t, 4)]);

  it('drift: domains one after the other drift, mixed ones do not', () => {
    const mixed = traceOf(
      Array.from({ length: 40 }, (_, i) => sequence(i % 2, i)),
      8,
    );
    const still = inspectTrace(mixed, options).drift!;
    expect(still.distance).toBeLessThan(2 * still.chance.distance + 0.02);
    const halves = traceOf(
      Array.from({ length: 40 }, (_, i) => sequence(i < 20 ? 0 : 1, i)),
      8,
    );
    const moved = inspectTrace(halves, options).drift!;
    expect(moved.distance).toBeCloseTo(1, 6);
    expect(moved.chance.distance).toBeLessThan(0.4);
    expect(moved.correlation).toBeLessThan(-0.9);
  });

  it('domain effect: disjoint domains, and names that mean nothing', () => {
    const picks = Array.from({ length: 40 }, (_, i) => sequence(i % 2, i));
    const names = picks.map((_, i) => i % 2);
    const apart = inspectTrace(traceOf(picks, 8, names), options).domains!;
    // Half of each domain's load lies on experts that have none of it in the whole but its own half.
    expect(apart.distance).toBeCloseTo(0.5, 2);
    expect(apart.levels.find(({ units }) => units === 2)!.within).toBeCloseTo(2, 6);
    const meaningless = picks.map((_, i) => (i >> 1) % 2);
    const nothing = inspectTrace(traceOf(picks, 8, meaningless), options).domains!;
    expect(nothing.distance).toBeLessThan(nothing.chance + 0.1);
  });

  it('batches: a decode that alternates between two halves of the experts has γ 2 and no even batch', () => {
    const picks = Array.from({ length: 20 }, () =>
      Array.from({ length: 20 }, (_, t) => [(t % 2) * 4 + (t % 4)]),
    );
    const { batches } = inspectTrace(traceOf(picks, 8), options);
    const decode = batches.find(({ batching }) => batching === 'decode-lockstep')!;
    expect(decode.levels.find(({ units }) => units === 2)).toMatchObject({ median: 2, mean: 2 });
    expect(decode.tokens).toBe(16);
  });

  it('leaves the calibration part out, of tokens as of counts', () => {
    const picks = Array.from({ length: 20 }, (_, i) => sequence(0, i));
    const plain = traceOf(picks, 8);
    const calibrated = traceOf([...picks.slice(0, 5).map(() => [[7], [7]]), ...picks], 8);
    calibrated.batches = {
      starts: Int32Array.of(0, 10, calibrated.tokens),
      calibrationSteps: 1,
      source: new Uint16Array(calibrated.tokens),
    };
    const [whole, rest] = [plain, calibrated].map((trace) => inspectTrace(trace, options));
    expect(rest.trace).toEqual(whole.trace);
    expect(rest.levels).toEqual(whole.levels);
    expect(rest.drift).toEqual(whole.drift);
    expect(rest.batches.slice(0, 3)).toEqual(whole.batches);
  });

  it('counts: recorded steps, no intervals, and it says why', () => {
    const counts: CountTrace = {
      kind: 'counts',
      header: {
        ...header,
        kind: 'counts',
        experts: 4,
        topK: 1,
        layerIds: [0],
        steps: 2,
        stepOrder: 'unknown',
      },
      steps: [Int32Array.of(4, 0, 0, 0), Int32Array.of(0, 4, 0, 0)].map((layer) => ({
        calibration: false,
        layers: [layer],
      })),
    };
    const { levels, batches, drift, warnings } = inspectTrace(counts, options);
    // Each step is on one expert, the window's sum on two: the whole hides how uneven its steps are.
    expect(levels[0].median.maxOverMean).toEqual({ value: 2, low: null, high: null });
    expect(batches[0].levels[0].median).toBe(4);
    expect(batches[0].autocorrelation).toBeNull();
    expect(drift).toBeNull();
    expect(warnings.join('\n')).toContain('numbers come without intervals');
  });

  it('warns where numbers rest on too little', () => {
    const { warnings } = inspectTrace(
      traceOf(
        [
          [[0], [1]],
          [[2], [3]],
        ],
        8,
        [0, 1],
      ),
      options,
    );
    expect(warnings).toEqual([
      '4 tokens give an average expert 1 copies in a layer: its load, and γ per expert, are largely chance',
      'experts without load may only not have come up yet: they are no sign of dead experts here',
      '2 sequences: the intervals are rough, and other traffic may differ by more',
      'batches of 1 tokens instead of 8: the recording is short',
      'in-order: 4 batches are worth 4 independent ones',
      'shuffled: 4 batches are worth 4 independent ones',
      'decode-lockstep: 4 batches are worth 4 independent ones',
      '2 of 2 domains have fewer than 3 sequences: their effect is rough',
    ]);
  });
});

describe('whether a placement would serve another trace', () => {
  // Expert e of 8 is 8 − e times as popular as the last; sequences differ only by chance.
  const popular = Array.from({ length: 8 }, (_, e) => new Array<number>(8 - e).fill(e)).flat();
  const traceWith = (rename: (expert: number) => number, seed: number) =>
    traceOf(
      Array.from({ length: 40 }, (_, s) =>
        Array.from({ length: 50 }, (_, t) => [rename(popular[scattered(seed + s * 50 + t, popular.length)])]),
      ),
      8,
    );
  const a = traceWith((e) => e, 0);

  it('the same traffic again: it does', () => {
    const { fits, correlation } = compareTraces(
      a,
      traceWith((e) => e, 5_000),
      [4],
    );
    expect(correlation).toBeGreaterThan(0.95);
    expect(fits[0].verdict).toBe('serves');
    expect(fits[0].planned.value).toBeLessThan(fits[0].contiguous);
  });

  it('other experts are hot: it does not', () => {
    // The order of pairs changes, so that a packs hot with hot of b.
    const order = [0, 7, 2, 4, 6, 3, 5, 1];
    const { fits } = compareTraces(
      a,
      traceWith((e) => order[e], 0),
      [4],
    );
    expect(fits[0].hindsight).toBeLessThan(fits[0].planned.value);
    expect(fits[0].verdict).not.toBe('serves');
  });

  it('refuses traces of other shapes', () => {
    expect(() => compareTraces(a, traceOf([[[0, 1]]], 8), [4])).toThrow(
      /allowed: two traces of the same layers/,
    );
  });
});

describe.skipIf(shared === null)('gpt-oss-20b/mmlu_dev', () => {
  const path = `${shared}/traces/gpt-oss-20b/mmlu_dev`;

  it('has the values of measured-data.md §4 to their precision', () => {
    const { status, stdout } = epsim(['trace', 'inspect', path, '--format', 'json']);
    expect(status).toBe(0);
    const { levels, batches, reuse, trace } = JSON.parse(stdout) as ReturnType<typeof inspectTrace>;
    const [expert, ep8] = levels;
    expect([trace.tokens, trace.sequences]).toEqual([24_028, 95]);
    expect(expert.median.maxOverMean.value.toFixed(3)).toBe('2.551');
    expect(expert.mean.maxOverMean.toFixed(3)).toBe('2.691');
    expect(expert.median.gini.value.toFixed(3)).toBe('0.412');
    expect(ep8.median.maxOverMean.value.toFixed(3)).toBe('1.407');
    expect(ep8.mean.maxOverMean.toFixed(3)).toBe('1.463');
    const gammaOf = (batching: string) =>
      batches.find((b) => b.batching === batching)!.levels[1].median.toFixed(2);
    expect([gammaOf('in-order'), gammaOf('shuffled')]).toEqual(['1.59', '1.42']);
    // The document says 40 %, to one digit; 0.4315 by an independent count with numpy.
    expect(reuse!.share.toFixed(4)).toBe('0.4315');
    expect(Math.round(10 * reuse!.share)).toBe(4);
    expect(ep8.median.maxOverMean.low!).toBeLessThan(1.407);
    expect(ep8.median.maxOverMean.high!).toBeGreaterThan(1.407);
  });

  it('prints them, and draws its heat map', () => {
    const svg = join(workFolder(), 'heat.svg');
    const { stdout } = epsim(['trace', 'inspect', path, '--svg', svg]);
    for (const value of [
      '2.551 [',
      '(2.691)',
      '0.412 [',
      '1.407 [',
      '(1.463)',
      '1.59 …',
      '1.42 …',
      '43.1 %',
    ]) {
      expect(stdout).toContain(value);
    }
    const drawn = readFileSync(svg, 'utf8');
    expect(drawn.startsWith('<svg')).toBe(true);
    expect(
      drawn.match(/aria-roledescription="rect mark"/g)?.length ?? drawn.match(/<path/g)!.length,
    ).toBeGreaterThan(700);
  });

  it('a placement of one domain does not serve another', () => {
    const place = `${shared}/traces/deepseek-v2-lite`;
    const { stdout } = epsim(['trace', 'compare', `${place}/intent`, `${place}/law`, '--format', 'json']);
    const { fits } = JSON.parse(stdout) as ReturnType<typeof compareTraces>;
    expect(fits.map(({ verdict }) => verdict)).toEqual(['does not serve', 'does not serve']);
    const dev = `${shared}/traces/gpt-oss-20b`;
    const same = epsim(['trace', 'compare', `${dev}/mmlu_dev`, `${dev}/mmlu_test`]);
    expect(same.stdout).toMatch(/EP 8 .* serves$/m);
  });
});

describe('bad usage', () => {
  it.each<[string[], string]>([
    [
      ['inspect', 'traces/quickstart.parquet', '--ep', '5'],
      'found EP size 5, allowed: a divisor of the 32 experts',
    ],
    [['inspect', 'traces/none.parquet'], 'no such file or folder'],
    [['inspect', 'traces/quickstart.parquet', '--batch', 'x'], 'Allowed: whole numbers ≥ 1.'],
  ])('trace %j', (args, message) => {
    const { status, stderr, stdout } = epsim(['trace', ...args]);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain('    at ');
  });
});
