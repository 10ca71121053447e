import { meanInterval } from '../../metrics/index.js';
import { COLOURS, frame, labelsOf, policyNames, titleOf, type ChartKind } from './chart.js';
import { numbersOf } from './selection.js';

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
    const values = groups.flatMap(({ key, rows }) => {
      const numbers = numbersOf(rows, value);
      if (numbers.length === 0) return [];
      const second = y === null ? '' : `${y} = ${String(key[y])}`;
      const line = several || y === null ? [name(key), second].filter(Boolean).join(', ') : second;
      return [{ x: key[x], line, ...meanInterval(numbers) }];
    });
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
          title: null,
          sort: null,
          scale: { range: COLOURS },
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
            y: {
              field: 'mean',
              type: 'quantitative',
              title: titleOf(value),
              axis: labelsOf(value),
              scale: { zero: false },
            },
          },
        },
      ],
    };
  },
};
