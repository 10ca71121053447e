import { mean } from 'd3-array';
import { ScenarioError } from '../../scenario/index.js';
import { COLOURS, frame, labelsOf, policyNames, titleOf, type ChartKind } from './chart.js';
import { numbersOf } from './selection.js';

/**
 * Which of the points no other point beats in one coordinate without losing in the other; smaller is better.
 * Of equal points all are on the front.
 */
export function paretoFront(points: readonly { x: number; y: number }[]): boolean[] {
  const order = points
    .map((_, i) => i)
    .sort((a, b) => points[a].x - points[b].x || points[a].y - points[b].y);
  const onFront = points.map(() => false);
  let best = Infinity;
  let last: { x: number; y: number } | null = null;
  for (const i of order) {
    const equal = last !== null && points[i].x === last.x && points[i].y === last.y;
    if (points[i].y >= best && !equal) continue;
    onFront[i] = true;
    best = points[i].y;
    last = points[i];
  }
  return onFront;
}

/** Whether a path is of what one is faced with, and not of what one may choose: it would not be fair to compare. */
function isGiven(path: string): boolean {
  return /^\/?(workload|model|scope)\b/.test(path);
}

/** Two result columns against each other, all choices under one workload, with the front of the best. */
export const pareto: ChartKind = {
  kind: 'pareto',
  summary:
    'two result columns, smaller is better: --x (default step_mean_s), --y (default peak_memory_bytes)',
  shown: (_, swept) => swept.filter(({ path }) => !isGiven(path)).map(({ column }) => column),
  columns: ({ x, y }) => (y === null ? [x] : [x, y]),
  draw(groups, options) {
    const { x, y, log } = options;
    if (y === null) throw new ScenarioError('--y', '', 'nothing', 'a column of the result');
    const name = policyNames(groups);
    const points = groups.flatMap(({ key, rows }) => {
      const [xs, ys] = [numbersOf(rows, x), numbersOf(rows, y)];
      if (xs.length === 0 || ys.length === 0) return [];
      return [{ x: mean(xs)!, y: mean(ys)!, policy: name(key) }];
    });
    const front = paretoFront(points);
    const values = points.map((point, i) => ({ ...point, front: front[i] }));
    const axis = (column: string) => ({
      type: 'quantitative',
      title: titleOf(column),
      axis: labelsOf(column),
      scale: log ? { type: 'log', nice: false } : { zero: false },
    });
    return {
      ...frame(options),
      width: 520,
      height: 360,
      data: { values },
      encoding: { x: { field: 'x', ...axis(x) }, y: { field: 'y', ...axis(y) } },
      layer: [
        {
          transform: [{ filter: 'datum.front' }],
          mark: { type: 'line', interpolate: 'step-after', color: '#999999', strokeDash: [4, 3] },
          encoding: { order: { field: 'x', type: 'quantitative' } },
        },
        {
          mark: { type: 'point', filled: true, size: 50 },
          encoding: {
            color: { field: 'policy', type: 'nominal', title: null, sort: null, scale: { range: COLOURS } },
            opacity: { condition: { test: 'datum.front', value: 1 }, value: 0.35 },
          },
        },
      ],
    };
  },
};
