import { quantileSorted } from 'd3-array';
import type { Recording } from '../../../simulation/index.js';
import { formatSeconds } from '../../units.js';
import { PLOT_WIDTH, type Figure } from '../figure.js';
import type { PageData } from '../page-data.js';

const MARKS = ['one layer of one step', 'middle half', 'median'];

/** How the times of a policy scatter. */
export function distributionFigure({ result, names, headings }: PageData, recording: Recording): Figure {
  const quantiles = recording.policies.map(({ policy, seconds }) => {
    const at = (share: number) => quantileSorted(seconds, share)! * 1e3;
    return { policy: headings[policy], q1: at(0.25), median: at(0.5), q3: at(0.75) };
  });
  const ticks = recording.policies.flatMap(({ policy, seconds }) =>
    [...new Set(seconds)].map((time) => ({ policy: headings[policy], time: time * 1e3 })),
  );
  const colour = (mark: string) => ({
    datum: mark,
    type: 'nominal',
    title: null,
    scale: { domain: MARKS, range: ['#0072b2', '#56b4e9', '#d55e00'] },
  });
  const y = {
    field: 'policy',
    type: 'nominal',
    title: null,
    sort: null,
    axis: { domain: false, ticks: false },
  };
  const many = recording.policies[0].seconds.length < result.routing.steps * recording.layers.length;
  return {
    id: 'distribution',
    title: 'How layers of steps scatter',
    text:
      `Each thin line is ${many ? 'a quantile of the times' : 'the time'} of one layer of one step; the light bar holds ` +
      'the middle half of them. Equal times lie on one another. This is what the steps did, without errors of the clock.',
    charts: [
      {
        width: PLOT_WIDTH,
        height: { step: 30 },
        encoding: { y },
        layer: [
          {
            data: { values: quantiles },
            mark: { type: 'bar', height: 14, opacity: 1 },
            encoding: {
              x: { field: 'q1', type: 'quantitative', title: 'time (ms)', scale: { zero: true } },
              x2: { field: 'q3' },
              color: colour(MARKS[1]),
            },
          },
          {
            data: { values: ticks },
            mark: { type: 'tick', height: 20, thickness: 1, opacity: 0.7 },
            encoding: { x: { field: 'time', type: 'quantitative' }, color: colour(MARKS[0]) },
          },
          {
            data: { values: quantiles },
            mark: { type: 'point', shape: 'diamond', filled: true, size: 60, opacity: 1 },
            encoding: { x: { field: 'median', type: 'quantitative' }, color: colour(MARKS[2]) },
          },
        ],
      },
    ],
    table: {
      head: ['policy', 'smallest', 'median', '95 %', 'largest'],
      rows: recording.policies.map(({ policy, seconds }) => [
        names[policy],
        ...[0, 0.5, 0.95, 1].map((share) => formatSeconds(quantileSorted(seconds, share)!)),
      ]),
    },
  };
}
