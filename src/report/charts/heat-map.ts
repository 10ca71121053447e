import { mean } from 'd3-array';
import { ScenarioError } from '../../scenario/index.js';
import { checkOnePolicy, frame, labelsOf, rangeOf, textOf, titleOf, type ChartKind } from './chart.js';
import { numbersOf } from './selection.js';

/** Cells above which their numbers would no longer fit in. */
const MOST_NUMBERS = 14;

/** The mean of a column over two swept columns, for one policy. */
export const heatMap: ChartKind = {
  kind: 'heat-map',
  summary: 'a column over --x and --y, for one --policy',
  shown: ({ x, y }) => (y === null ? [x] : [x, y]),
  columns: ({ value }) => [value],
  draw(groups, options) {
    const { x, y, value } = options;
    if (y === null) throw new ScenarioError('--y', '', 'nothing', 'a swept column');
    checkOnePolicy(groups);
    const values = groups.flatMap(({ key, rows }) => {
      const numbers = numbersOf(rows, value);
      return numbers.length === 0 ? [] : [{ x: key[x], y: key[y], value: mean(numbers)! }];
    });
    const columns = new Set(values.map((cell) => cell.x)).size;
    const rows = new Set(values.map((cell) => cell.y)).size;
    const centre = value.startsWith('speedup') ? 1 : undefined;
    const inCells = Math.max(columns, rows) <= MOST_NUMBERS;
    const cell = {
      x: { field: 'x', type: 'ordinal', title: titleOf(x), axis: { labelAngle: 0 } },
      y: { field: 'y', type: 'ordinal', title: titleOf(y), sort: 'descending' },
    };
    const size = (count: number) => Math.max(160, (inCells ? 56 : 14) * count);
    return {
      ...frame(options),
      width: size(columns),
      height: inCells ? Math.max(120, 36 * rows) : size(rows),
      data: { values },
      transform: [{ calculate: textOf(value), as: 'label' }],
      encoding: cell,
      layer: [
        {
          mark: 'rect',
          encoding: {
            color: {
              field: 'value',
              type: 'quantitative',
              title: titleOf(value),
              scale:
                centre === undefined
                  ? { scheme: 'viridis' }
                  : { scheme: 'blueorange', domainMid: centre, reverse: true },
              legend: labelsOf(value, rangeOf(values.map((cell) => cell.value))),
            },
          },
        },
        ...(inCells
          ? [
              {
                mark: { type: 'text', fontSize: 11, stroke: 'white', strokeWidth: 3, strokeOpacity: 0.8 },
                encoding: { text: { field: 'label' } },
              },
              {
                mark: { type: 'text', fontSize: 11, fill: 'black' },
                encoding: { text: { field: 'label' } },
              },
            ]
          : []),
      ],
    };
  },
};
