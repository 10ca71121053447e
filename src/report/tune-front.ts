import { objectives, type ObjectiveName, type TuneResult } from '../sweep/index.js';
import { COLOURS, frame, labelsOf, rangeOf, titleOf, type Chart } from './charts/chart.js';
import { formatBytes, formatSeconds, formatShare } from './units.js';

/** Size of the drawing in characters, without its frame. */
const COLUMNS = 56;
const ROWS = 10;

/** A score as text, in the unit of its objective. */
export function formatScore(objective: ObjectiveName, value: number): string {
  const { column } = objectives[objective];
  if (column.endsWith('_s')) return formatSeconds(value);
  return column.endsWith('_bytes') ? formatBytes(value) : formatShare(value);
}

/**
 * The last round of a search in characters: the first objective to the right, the second upwards, each setting at
 * the number of its row in the table; of settings at one place the first. Empty where there is no plane to draw in.
 */
export function frontDrawing({ finalists, minimise }: TuneResult): string[] {
  if (minimise.length < 2 || finalists.length < 2) return [];
  const [x, y] = minimise;
  const points = finalists.map(({ scores }) => ({ x: scores[0].mean, y: scores[1].mean }));
  const range = (values: number[]) => [Math.min(...values), Math.max(...values)] as const;
  const [left, right] = range(points.map((point) => point.x));
  const [bottom, top] = range(points.map((point) => point.y));
  if (left === right && bottom === top) return [];
  const cells = Array.from({ length: ROWS }, () => Array<string>(COLUMNS).fill(' '));
  const at = (value: number, from: number, to: number, cells: number) =>
    to === from ? 0 : Math.round(((value - from) / (to - from)) * (cells - 1));
  points.forEach((point, i) => {
    const row = ROWS - 1 - at(point.y, bottom, top, ROWS);
    const column = at(point.x, left, right, COLUMNS - 1);
    const mark = String(i + 1);
    if (cells[row][column] === ' ') [...mark].forEach((digit, d) => (cells[row][column + d] = digit));
  });
  const ends = [formatScore(x, left), formatScore(x, right)];
  const gap = Math.max(1, COLUMNS - ends[0].length - ends[1].length);
  return [
    `${y}: ${formatScore(y, top)} at the top, ${formatScore(y, bottom)} at the bottom`,
    ...cells.map((row) => `│${row.join('').trimEnd()}`),
    `└${'─'.repeat(COLUMNS)}`,
    ` ${ends[0]}${' '.repeat(gap)}${ends[1]}  ${x}`,
    '',
  ];
}

/** The same as a chart, with the 90 % intervals over the seeds. */
export function frontChart({ finalists, minimise, policy }: TuneResult): Chart {
  const [x, y = x] = minimise;
  const values = finalists.map(({ setting, scores, onFront }, i) => {
    const [across, up = across] = scores;
    return {
      row: i + 1,
      label: '',
      ...setting,
      x: across.mean,
      xLow: across.low ?? across.mean,
      xHigh: across.high ?? across.mean,
      y: up.mean,
      yLow: up.low ?? up.mean,
      yHigh: up.high ?? up.mean,
      front: onFront ? 'on the front' : 'beaten by another',
    };
  });
  labelOnce(values);
  const axis = (name: ObjectiveName, shown: number[]) => ({
    type: 'quantitative',
    title: titleOf(objectives[name].column),
    axis: labelsOf(objectives[name].column, rangeOf(shown)),
    scale: { zero: false },
  });
  const right = axis(
    x,
    values.flatMap(({ xLow, xHigh }) => [xLow, xHigh]),
  );
  const up = axis(
    y,
    values.flatMap(({ yLow, yHigh }) => [yLow, yHigh]),
  );
  const bar = { mark: { type: 'rule', color: '#bbbbbb' } };
  return {
    ...frame({
      title: `${policy}: the last round of the search`,
      subtitle: 'number: row of the table; bars: 90 % over seeds',
      x,
      y,
      value: x,
      log: false,
    }),
    width: 520,
    height: 360,
    data: { values },
    encoding: { x: { field: 'x', ...right }, y: { field: 'y', ...up } },
    layer: [
      { ...bar, encoding: { x: { field: 'xLow', ...right }, x2: { field: 'xHigh' } } },
      { ...bar, encoding: { y: { field: 'yLow', ...up }, y2: { field: 'yHigh' } } },
      {
        mark: { type: 'point', filled: true, size: 60, opacity: 1 },
        encoding: {
          color: {
            field: 'front',
            type: 'nominal',
            title: null,
            scale: { domain: ['on the front', 'beaten by another'], range: [COLOURS[0], '#999999'] },
          },
        },
      },
      {
        mark: { type: 'text', dx: 9, dy: -9, fontSize: 11 },
        encoding: { text: { field: 'label' } },
      },
    ],
  };
}

/** Points nearer to each other than a label is large have one label together. */
function labelOnce(values: { row: number; label: string; x: number; y: number }[]): void {
  const size = (coordinates: number[]) => Math.max(...coordinates) - Math.min(...coordinates) || 1;
  const [width, height] = [size(values.map(({ x }) => x)), size(values.map(({ y }) => y))];
  const labelled: typeof values = [];
  for (const value of values) {
    const near = labelled.find(
      ({ x, y }) => Math.abs(x - value.x) < width / 20 && Math.abs(y - value.y) < height / 20,
    );
    if (near) near.label += `, ${value.row}`;
    else {
      value.label = String(value.row);
      labelled.push(value);
    }
  }
}
