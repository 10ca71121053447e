import { fc, test } from '@fast-check/vitest';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { createAxis } from '../../src/sweep/axes/index.js';
import { MOST_DIMENSIONS, sobolBits } from '../../src/sweep/sobol.js';
import { parseSweep } from '../../src/sweep/index.js';

/** All settings of an axis as a sweep file writes it. */
function settingsOf(axis: object): unknown[][] {
  const { axes } = parseSweep({ scenario: {}, axes: [axis] }, 'sweep.json');
  const created = createAxis(axes[0]);
  return Array.from({ length: created.length }, (_, index) => created.at(index));
}

const valuesOf = (axis: object) => settingsOf({ path: 'x', ...axis }).map(([value]) => value);

describe('axes', () => {
  it.each<[object, unknown[]]>([
    [{ kind: 'list', values: [3, 'a', null, { b: 1 }] }, [3, 'a', null, { b: 1 }]],
    [{ kind: 'range', from: 0, to: 0.4, step: 0.1 }, [0, 0.1, 0.2, 0.3, 0.4]],
    [{ kind: 'range', from: 5, to: 1, step: -2 }, [5, 3, 1]],
    [{ kind: 'range', from: 1, to: 10, step: 4 }, [1, 5, 9]],
    [{ kind: 'range', from: 1, to: 2, count: 5 }, [1, 1.25, 1.5, 1.75, 2]],
    [{ kind: 'range', from: 7, to: 9, count: 1 }, [7]],
    [{ kind: 'log-range', from: 1, to: 1000, count: 4 }, [1, 10, 100, 1000]],
    [{ kind: 'log-range', from: 8, to: 1, count: 4 }, [8, 4, 2, 1]],
    [{ kind: 'log-range', from: 1, to: 10, count: 3, integer: true }, [1, 3, 10]],
  ])('%j', (axis, values) => {
    expect(valuesOf(axis)).toEqual(values);
  });

  it('pairs axes of equal length', () => {
    const axes = [
      { kind: 'list', path: 'a', values: ['x', 'y'] },
      { kind: 'range', path: 'b', from: 1, to: 2, count: 2 },
    ];
    expect(settingsOf({ kind: 'zip', axes })).toEqual([
      ['x', 1],
      ['y', 2],
    ]);
  });

  it.each<[object, string]>([
    [
      { kind: 'range', path: 'x', from: 0, to: 1 },
      'found neither step nor count, allowed: one of step and count',
    ],
    [{ kind: 'range', path: 'x', from: 0, to: 1, step: 1, count: 2 }, 'found both step and count'],
    [
      { kind: 'range', path: 'x', from: 0, to: 1, step: 0 },
      'step: found 0, allowed: a step that leads from 0 to 1',
    ],
    [{ kind: 'range', path: 'x', from: 0, to: 1, step: -1 }, 'step: found -1'],
    [
      { kind: 'log-range', path: 'x', from: 1, to: 3, count: 9, integer: true },
      'found 9 whole numbers from 1 to 3',
    ],
    [
      {
        kind: 'zip',
        axes: [
          { kind: 'list', path: 'x', values: [1, 2] },
          { kind: 'list', path: 'y', values: [1] },
        ],
      },
      'axes[1]: found 1 values beside 2, allowed: as many',
    ],
  ])('refuses %j', (axis, message) => {
    expect(() => settingsOf(axis)).toThrow(message);
  });

  const sampled = fc.record({
    kind: fc.constantFrom('random', 'sobol'),
    points: fc.integer({ min: 1, max: 40 }),
    seed: fc.integer(),
    from: fc.integer({ min: 1, max: 50 }),
    span: fc.integer({ min: 0, max: 50 }),
  });

  test.prop([sampled])('draws within the ends, and the same again', ({ kind, points, seed, from, span }) => {
    const to = from + span;
    const axis = {
      kind,
      points,
      seed,
      over: [
        { distribution: 'uniform', path: 'a', from, to },
        { distribution: 'uniform', path: 'b', from, to, integer: true },
        { distribution: 'log-uniform', path: 'c', from, to },
        { distribution: 'log-uniform', path: 'd', from, to, integer: true },
        { distribution: 'choice', path: 'e', values: ['p', 'q', 'r'] },
      ],
    };
    const settings = settingsOf(axis);
    expect(settings).toHaveLength(points);
    for (const [a, b, c, d, e] of settings as [number, number, number, number, string][]) {
      for (const value of [a, b, c, d]) {
        expect(value).toBeGreaterThanOrEqual(from);
        expect(value).toBeLessThanOrEqual(to);
      }
      expect([b, d].every(Number.isInteger)).toBe(true);
      expect(['p', 'q', 'r']).toContain(e);
    }
    expect(settingsOf(axis)).toEqual(settings);
  });

  it('draws whole numbers and choices evenly from a Sobol sequence, ends included', () => {
    const axis = {
      kind: 'sobol',
      points: 64,
      over: [
        { distribution: 'uniform', path: 'a', from: 1, to: 4, integer: true },
        { distribution: 'choice', path: 'b', values: ['x', 'y'] },
      ],
    };
    const settings = settingsOf(axis);
    for (const a of [1, 2, 3, 4]) {
      for (const b of ['x', 'y']) {
        // 64 points of a two-dimensional (0, 2)-sequence: 8 in each of 4 × 2 equal boxes
        expect(settings.filter((setting) => setting[0] === a && setting[1] === b)).toHaveLength(8);
      }
    }
  });

  it('gives other points for another seed', () => {
    const over = [{ distribution: 'uniform', path: 'a', from: 0, to: 1 }];
    for (const kind of ['random', 'sobol']) {
      const draw = (seed: number) => settingsOf({ kind, points: 4, over, seed });
      expect(draw(1)).not.toEqual(draw(2));
    }
  });

  it('has probes that are settings of its own, ends included', () => {
    const axis = createAxis({ kind: 'range', path: 'x', from: 0, to: 9999, step: 1 });
    const probes = axis.probes().map(([value]) => value as number);
    expect(probes.length).toBeLessThanOrEqual(256);
    expect([probes[0], probes.at(-1)]).toEqual([0, 9999]);
  });
});

describe('the Sobol sequence', () => {
  const point = (index: number, dimensions: number) =>
    Array.from({ length: dimensions }, (_, dimension) => sobolBits(index, dimension) / 2 ** 32);

  it('has the first points that Joe and Kuo publish', () => {
    // web.maths.unsw.edu.au/~fkuo/sobol, "first 10 points in 3 dimensions"
    expect(Array.from({ length: 10 }, (_, index) => point(index, 3))).toEqual([
      [0, 0, 0],
      [0.5, 0.5, 0.5],
      [0.75, 0.25, 0.25],
      [0.25, 0.75, 0.75],
      [0.375, 0.375, 0.625],
      [0.875, 0.875, 0.125],
      [0.625, 0.125, 0.875],
      [0.125, 0.625, 0.375],
      [0.1875, 0.3125, 0.9375],
      [0.6875, 0.8125, 0.4375],
    ]);
  });

  it('equals another implementation in all its dimensions', () => {
    const oracle = JSON.parse(readFileSync(new URL('../oracles/sobol.json', import.meta.url), 'utf8')) as {
      points: Record<string, number[]>;
    };
    for (const [index, coordinates] of Object.entries(oracle.points)) {
      expect(coordinates).toHaveLength(MOST_DIMENSIONS);
      expect(coordinates.map((_, dimension) => sobolBits(Number(index), dimension))).toEqual(coordinates);
    }
  });
});
