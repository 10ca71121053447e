import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { parseSweep, SweepPoints } from '../../src/sweep/index.js';
import { arrayExpression, defaultPointsPerShard, shardAt, shardCount } from '../../src/sweep/index.js';
import { small } from '../cli/epsim.js';

const pointsOf = (sweep: object, scenario: unknown = small) =>
  new SweepPoints(parseSweep({ scenario: 'scenario.json', ...sweep }, 'sweep.json'), scenario, 'sweep.json');

const list = (path: string, ...values: unknown[]) => ({ kind: 'list', path, values });

describe('the points of a sweep', () => {
  it('stand in the order of the axes, the last one fastest, seeds fastest of all', () => {
    const points = pointsOf({ axes: [list('workload.steps', 1, 2), list('cluster.gpus', 2, 4)], seeds: 2 });
    expect(Array.from({ length: points.count }, (_, i) => points.valuesAt(i))).toEqual([
      [1, 2, 7],
      [1, 2, 8],
      [1, 4, 7],
      [1, 4, 8],
      [2, 2, 7],
      [2, 2, 8],
      [2, 4, 7],
      [2, 4, 8],
    ]);
  });

  it('set any path of the scenario, options of policies too, and leave it alone', () => {
    const before = structuredClone(small);
    const points = pointsOf({
      axes: [
        list('/policies/1/alpha', 1.5),
        list('policies.1.minTokensPerGemm', 4),
        list('workload.routing', { kind: 'balanced' }),
      ],
      seeds: ['a'],
    });
    expect(points.scenarioAt(0)).toMatchObject({
      policies: ['ep', { kind: 'llep', alpha: 1.5, minTokensPerGemm: 4 }],
      workload: { steps: 3, routing: { kind: 'balanced' } },
      seed: 'a',
    });
    expect(small).toEqual(before);
  });

  it('count on from the seed of the scenario', () => {
    expect(pointsOf({ seeds: 3 }).valuesAt(2)).toEqual([9]);
    expect(pointsOf({ seeds: 3 }, { ...small, seed: 'x' }).valuesAt(2)).toEqual(['x/2']);
  });

  it('are one where nothing is swept', () => {
    const points = pointsOf({});
    expect([points.count, points.scenarioAt(0)]).toEqual([1, small]);
  });

  it('can be a billion without being listed', () => {
    const range = (path: string) => ({ kind: 'range', path, from: 1, to: 1000, step: 1 });
    const points = pointsOf({ axes: [range('a'), range('b'), range('c')] });
    expect([points.count, points.valuesAt(123_456_789)]).toEqual([1e9, [124, 457, 790]]);
  });

  test.prop([fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 })])(
    'are every combination once',
    (lengths) => {
      const axes = lengths.map((length, i) => ({
        kind: 'range',
        path: `a${i}`,
        from: 1,
        to: length,
        step: 1,
      }));
      const points = pointsOf({ axes });
      const all = Array.from({ length: points.count }, (_, i) => points.valuesAt(i).join());
      expect(new Set(all).size).toBe(lengths.reduce((product, length) => product * length, 1));
    },
  );

  it.each<[string, object, string | RegExp]>([
    [
      'an unknown path',
      { axes: [list('workload.tokenPerGpu', 8)] },
      "sweep.json: axis workload.tokenPerGpu = 8: found unknown key 'tokenPerGpu', allowed: phase, tokensPerGpu",
    ],
    [
      'a value out of range, wherever it stands',
      { axes: [list('cluster.gpus', 4, 8), list('policies[1].alpha', 1, -1)] },
      'sweep.json: axis policies[1].alpha = -1: found -1, allowed: a number > 0',
    ],
    [
      'the end of a range',
      { axes: [{ kind: 'range', path: 'workload.steps', from: 3, to: 0, step: -1 }] },
      'sweep.json: axis workload.steps = 0: found 0, allowed: a number ≥ 1',
    ],
    [
      'the end of a distribution',
      {
        axes: [
          {
            kind: 'sobol',
            points: 2,
            over: [{ distribution: 'uniform', path: 'workload.steps', from: 1.5, to: 2.5 }],
          },
        ],
      },
      /sweep.json: axis workload.steps = [12].\d+: found [12].\d+, allowed: a whole number/,
    ],
    [
      'an item that is not there',
      { axes: [list('policies[7].alpha', 1)] },
      'sweep.json: axis policies[7].alpha: policies[7]: found no item 7, allowed: an index from 0 to 2',
    ],
    [
      'a path inside a number',
      { axes: [list('workload.steps.x', 1)] },
      'sweep.json: axis workload.steps.x: workload.steps: found 3, allowed: an object',
    ],
  ])('are refused for %s before anything runs', (_, sweep, message) => {
    expect(() => [...pointsOf(sweep).probes('scenario.json')]).toThrow(message);
  });

  it('name the scenario where it is itself wrong', () => {
    const points = pointsOf({ axes: [list('workload.steps', 1)] }, { ...small, polices: [] });
    expect(() => [...points.probes('scenario.json')]).toThrow(
      "scenario.json: polices: found unknown key 'polices'",
    );
  });

  it.each<[string, object, string]>([
    ['a path twice', { axes: [list('a.b', 1), list('/a/b', 2)] }, 'axes: found /a/b twice'],
    [
      'a column twice',
      {
        axes: [
          { ...list('a', 1), as: 'x' },
          { ...list('b', 1), as: 'x' },
        ],
      },
      'axes: found two columns x',
    ],
    [
      'an unknown key',
      { axis: [] },
      "axis: found unknown key 'axis', allowed: $schema, name, scenario, axes, seeds",
    ],
    ['an unknown kind', { axes: [{ kind: 'grid' }] }, 'axes[0].kind: found "grid", allowed: "list", "range"'],
    ['a key of no axis', { axes: [{ ...list('a', 1), step: 2 }] }, "axes[0].step: found unknown key 'step'"],
    [
      'a path into a prototype',
      { axes: [list('__proto__.x', 1)] },
      '__proto__.x: found a name with a meaning',
    ],
    [
      'too many points',
      { axes: ['a', 'b', 'c', 'd'].map((path) => ({ kind: 'range', path, from: 1, to: 9999, step: 1 })) },
      'axes: found 9999 × 9999 × 9999 × 9999 points',
    ],
  ])('are refused for %s', (_, sweep, message) => {
    expect(() => pointsOf(sweep)).toThrow(`sweep.json: ${message}`);
  });
});

describe('shards', () => {
  test.prop([fc.integer({ min: 1, max: 5_000 }), fc.integer({ min: 1, max: 700 })])(
    'hold every point once, in order',
    (points, pointsPerShard) => {
      const division = { points, pointsPerShard };
      let next = 0;
      for (let index = 0; index < shardCount(division); index++) {
        const { from, to } = shardAt(division, index);
        expect(from).toBe(next);
        expect(to).toBeGreaterThan(from);
        next = to;
      }
      expect(next).toBe(points);
    },
  );

  it('are at most as many as a job array may have', () => {
    for (const points of [1, 99, 2_000, 1_000_000]) {
      const pointsPerShard = defaultPointsPerShard(points);
      expect(shardCount({ points, pointsPerShard })).toBeLessThanOrEqual(1000);
    }
  });

  it.each([
    [[], ''],
    [[4], '4'],
    [[0, 1, 2, 5, 7, 8], '0-2,5,7-8'],
  ])('%j as an array expression: %s', (indices, text) => {
    expect(arrayExpression(indices)).toBe(text);
  });
});
