import { group } from 'd3-array';
import { meanInterval } from '../../metrics/index.js';
import {
  checkApart,
  COLOURS,
  frame,
  labelsOf,
  legendBelow,
  policyNames,
  rangeOf,
  titleOf,
  type ChartKind,
} from './chart.js';
import { numbersOf, type TableRow } from './selection.js';

/** Dashes that, with a colour, tell more lines apart than there are colours. */
const DASHES = [
  [1, 0],
  [6, 3],
  [2, 2],
  [9, 3, 2, 3],
];

interface LinePoint {
  x: TableRow[string];
  line: string;
  mean: number;
  /** null where one seed says nothing of others. */
  low: number | null;
  high: number | null;
}

/** Lines of a policy that are the same at every value of `y` as one of them: the policy does not depend on it. */
function withoutRepeats(
  points: readonly (LinePoint & { policy: string; at: string })[],
  y: string | null,
): LinePoint[] {
  const kept = group(points, ({ policy }) => policy);
  return [...kept].flatMap(([policy, own]) => {
    const lines = [...group(own, ({ at }) => at).values()];
    const drawn = (line: (typeof lines)[number]) =>
      JSON.stringify(line.map(({ x, mean, low, high }) => [x, mean, low, high]));
    const repeats = lines.length > 1 && lines.every((line) => drawn(line) === drawn(lines[0]));
    return (repeats ? lines[0] : own).map(({ x, line, mean, low, high }) => ({
      x,
      line: repeats ? `${policy}, any ${y}` : line,
      mean,
      low,
      high,
    }));
  });
}

/** A column along one swept column, a line for each policy (and for each value of `y`), with 90 % intervals. */
export const lines: ChartKind = {
  kind: 'lines',
  summary: 'a column along --x: a line per policy (and per value of --y), with 90 % intervals over seeds',
  shown: ({ x, y }) => (y === null ? [x] : [x, y]),
  columns: ({ value }) => [value],
  draw(groups, options) {
    const { x, y, value, log } = options;
    const name = policyNames(groups);
    const several = new Set(groups.map(({ key }) => name(key))).size > 1;
    const points = groups.flatMap(({ key, rows }) => {
      const numbers = numbersOf(rows, value);
      if (numbers.length === 0) return [];
      const at = y === null ? '' : `${y} = ${String(key[y])}`;
      const policy = name(key);
      const line = several || y === null ? [policy, at].filter(Boolean).join(', ') : at;
      return [{ x: key[x], line, policy, at, ...meanInterval(numbers) }];
    });
    const values = withoutRepeats(points, y);
    const names = [...new Set(values.map(({ line }) => line))];
    checkApart('lines', names, COLOURS.length * DASHES.length);
    const numeric = values.every((point) => typeof point.x === 'number');
    const scale = log && numeric ? { type: 'log' } : { zero: false };
    return {
      ...frame(options),
      width: 520,
      height: 320,
      data: { values },
      encoding: {
        x: numeric
          ? { field: 'x', type: 'quantitative', title: titleOf(x), scale: { ...scale, nice: false } }
          : { field: 'x', type: 'nominal', title: titleOf(x), sort: null },
        color: {
          field: 'line',
          type: 'nominal',
          sort: null,
          scale: { domain: names, range: names.map((_, i) => COLOURS[i % COLOURS.length]) },
          legend: legendBelow(names),
        },
      },
      layer: [
        {
          mark: { type: 'errorband', opacity: 0.18 },
          encoding: {
            y: { field: 'low', type: 'quantitative', title: titleOf(value), scale: { zero: false } },
            y2: { field: 'high' },
          },
        },
        {
          mark: { type: 'line', point: { size: 36 }, strokeWidth: 2 },
          encoding: {
            strokeDash: {
              field: 'line',
              type: 'nominal',
              sort: null,
              scale: { domain: names, range: names.map((_, i) => DASHES[Math.floor(i / COLOURS.length)]) },
              legend: legendBelow(names),
            },
            y: {
              field: 'mean',
              type: 'quantitative',
              title: titleOf(value),
              axis: labelsOf(
                value,
                rangeOf(values.flatMap(({ mean, low, high }) => [low ?? mean, high ?? mean])),
              ),
              scale: { zero: false },
            },
          },
        },
      ],
    };
  },
};
