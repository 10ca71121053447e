import { mean } from 'd3-array';
import { ScenarioError } from '../../scenario/index.js';
import {
  checkApart,
  COLOURS,
  frame,
  labelsOf,
  legendBelow,
  policyNames,
  rangeOf,
  titleOf,
  type Chart,
  type ChartKind,
} from './chart.js';
import { placeLabels } from './labels.js';
import { numbersOf, type Group } from './selection.js';

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

/** Marks of exact and of inexact policies: with a colour, one of them tells a policy apart. */
const MARKS = {
  exact: ['circle', 'square', 'triangle-up'],
  inexact: ['diamond', 'cross', 'triangle-down'],
} as const;

const INEXACT = ' (inexact)';

const PLOT = { width: 560, height: 380 };

/** Share of the plot between its frame and the outermost points. */
const MARGIN = 0.06;

/** A choice: groups that lie at one place are one. */
interface Choice {
  policy: string;
  /** Values of the axes that tell it from its policy's others, as `alpha=1.1`. */
  setting: string;
  output: 'exact' | 'inexact';
  x: number;
  y: number;
}

/** Two result columns against each other, all choices under one workload, with the fronts of the best. */
export const pareto: ChartKind = {
  kind: 'pareto',
  summary:
    'two result columns, smaller is better: --x (default step_mean_s), --y (default peak_memory_bytes); exact and ' +
    'inexact policies with a front each',
  shown: (_, swept) => swept.filter(({ path }) => !isGiven(path)).map(({ column }) => column),
  columns: ({ x, y }) => (y === null ? [x, 'exact'] : [x, y, 'exact']),
  draw(groups, options) {
    const { x, y, log } = options;
    if (y === null) throw new ScenarioError('--y', '', 'nothing', 'a column of the result');
    const choices = choicesOf(groups, x, y);
    const values = (['exact', 'inexact'] as const).flatMap((output) => {
      const own = choices.filter((choice) => choice.output === output);
      const front = paretoFront(own);
      return own.map((choice, i) => ({ ...choice, front: front[i] }));
    });
    const scaleOf = (at: (value: Choice) => number) => {
      const shown = values.map(at);
      return { log: log && shown.every((value) => value > 0), domain: padded(rangeOf(shown), log) };
    };
    const [across, up] = [scaleOf((value) => value.x), scaleOf((value) => value.y)];
    const { labels, left } = placeLabels(
      values.map((value) => ({
        x: PLOT.width * shareOf(value.x, across),
        y: PLOT.height * (1 - shareOf(value.y, up)),
        text: value.front ? value.setting || value.policy : '',
      })),
      PLOT,
    );
    const axis = (column: string, { log, domain }: Scale) => ({
      type: 'quantitative',
      title: titleOf(column),
      axis: labelsOf(column, domain, log),
      scale: { domain, nice: false, ...(log ? { type: 'log' } : { zero: false }) },
    });
    return {
      ...frame(options, [
        ...frontNotes(values),
        ...(left > 0
          ? [`Points on a front without room for a label: ${left}; a page (.html) has their numbers.`]
          : []),
      ]),
      ...PLOT,
      data: { values },
      encoding: { x: { field: 'x', ...axis(x, across) }, y: { field: 'y', ...axis(y, up) } },
      layer: [
        frontLine('exact', [6, 3]),
        frontLine('inexact', [1, 3]),
        marks(values),
        ...labelLayers(labels),
      ],
    };
  },
};

interface Scale {
  log: boolean;
  domain: [number, number];
}

/** Groups by place: what a policy has at one place, its other axes do not change. */
function choicesOf(groups: readonly Group[], x: string, y: string): Choice[] {
  const name = policyNames(groups);
  const columns = Object.keys(groups[0]?.key ?? {}).filter((column) => !column.startsWith('policy_'));
  const all = new Map(columns.map((column) => [column, new Set(groups.map(({ key }) => key[column])).size]));
  const places = new Map<string, { choice: Choice; keys: Group['key'][] }>();
  for (const { key, rows } of groups) {
    const [xs, ys] = [numbersOf(rows, x), numbersOf(rows, y)];
    if (xs.length === 0 || ys.length === 0) continue;
    const exact = rows[0].exact !== false;
    const choice: Choice = {
      policy: `${name(key)}${exact ? '' : INEXACT}`,
      setting: '',
      output: exact ? 'exact' : 'inexact',
      x: mean(xs)!,
      y: mean(ys)!,
    };
    const place = `${choice.policy}/${choice.x}/${choice.y}`;
    const known = places.get(place);
    if (known) known.keys.push(key);
    else places.set(place, { choice, keys: [key] });
  }
  return [...places.values()].map(({ choice, keys }) => {
    const setting = columns.flatMap((column) => {
      const values = [...new Set(keys.map((key) => String(key[column])))];
      return values.length === all.get(column) ? [] : [`${column}=${values.join('|')}`];
    });
    return { ...choice, setting: setting.join(' ') };
  });
}

/** A range with room at both ends, so that no point lies on the frame. */
function padded([low, high]: [number, number], log: boolean): [number, number] {
  if (log && low > 0) {
    const ratio = high > low ? (high / low) ** MARGIN : 1.1;
    return [low / ratio, high * ratio];
  }
  const room = MARGIN * (high - low) || 0.1 * Math.abs(high) || 1;
  return [low - room, high + room];
}

/** Where a value lies between the ends of its scale. */
function shareOf(value: number, { log, domain: [low, high] }: Scale): number {
  return log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
}

/** What marks and lines mean, in words. */
function frontNotes(values: readonly Choice[]): string[] {
  const has = (output: Choice['output']) => values.some((value) => value.output === output);
  if (!has('inexact')) return ['Dashed: the front, which no other point beats.'];
  const inexact = 'inexact policies, which change the output';
  if (!has('exact')) return [`All points are ${inexact}. Dotted: their front.`];
  return [
    'Circles, dashed: exact policies and their front.',
    `Diamonds, dotted: ${inexact}, and a front of their own.`,
  ];
}

function frontLine(output: Choice['output'], strokeDash: number[]): Chart {
  return {
    transform: [{ filter: `datum.front && datum.output === '${output}'` }],
    mark: { type: 'line', interpolate: 'step-after', color: '#8c8c8c', strokeDash },
    encoding: { order: { field: 'x', type: 'quantitative' } },
  };
}

function marks(values: readonly Choice[]): Chart {
  const outputs = new Map(values.map(({ policy, output }) => [policy, output]));
  const names = [...outputs.keys()];
  const numberOf = (policy: string) =>
    names.filter((name) => outputs.get(name) === outputs.get(policy)).indexOf(policy);
  const shapes = MARKS.exact.length;
  for (const output of ['exact', 'inexact'] as const) {
    const own = names.filter((name) => outputs.get(name) === output);
    checkApart(`${output} policies`, own, COLOURS.length * shapes);
  }
  const legend = legendBelow(names);
  const nominal = { field: 'policy', type: 'nominal', sort: null, legend };
  return {
    mark: { type: 'point', filled: true, size: 60 },
    encoding: {
      color: {
        ...nominal,
        scale: { domain: names, range: names.map((_, i) => COLOURS[i % COLOURS.length]) },
      },
      shape: {
        ...nominal,
        scale: {
          domain: names,
          range: names.map(
            (name) => MARKS[outputs.get(name)!][Math.floor(numberOf(name) / COLOURS.length) % shapes],
          ),
        },
      },
      opacity: { condition: { test: 'datum.front', value: 1 }, value: 0.55 },
    },
  };
}

/** Texts at their pixels. */
function labelLayers(labels: ReturnType<typeof placeLabels>['labels']): Chart[] {
  return (['left', 'right'] as const).map((align) => ({
    data: { values: labels.filter((label) => label.align === align) },
    mark: { type: 'text', fontSize: 11, align, baseline: 'middle' },
    encoding: {
      x: { field: 'x', type: 'quantitative', scale: null, axis: null },
      y: { field: 'y', type: 'quantitative', scale: null, axis: null },
      text: { field: 'text' },
    },
  }));
}
