import type { Phase } from '../../../execution/index.js';
import type { PolicyResult } from '../../../simulation/index.js';
import { steppedThing } from '../../cells.js';
import { formatSeconds } from '../../units.js';
import { ACTIVITIES, ACTIVITY_COLOURS, activityOf } from '../colours.js';
import { PLOT_WIDTH, type Figure } from '../figure.js';
import type { PageData } from '../page-data.js';

/** Seconds of a policy's phases, by name. */
type Seconds = PolicyResult['time']['critical'];

const entries = (seconds: Seconds) => Object.entries(seconds) as [Phase, number][];

/** What the mean step is made of, and how long GPUs wait for each other. */
export function timeFigure({ result, names, headings }: PageData): Figure {
  const unit = steppedThing(result).replace(/^(a|one) /, '');
  const values = result.policies.flatMap(({ time }, i) => {
    const byActivity = new Map<string, number>();
    for (const [phase, seconds] of entries(time.critical)) {
      const activity = activityOf(phase);
      byActivity.set(activity, (byActivity.get(activity) ?? 0) + seconds * 1e3);
    }
    return [...byActivity].map(([activity, ms]) => ({
      policy: headings[i],
      activity,
      order: ACTIVITIES.findIndex((known) => known === activity),
      ms,
    }));
  });
  const waits = result.policies.map(({ time }, i) => ({ policy: headings[i], ms: time.waiting * 1e3 }));
  const longest = Math.max(
    ...result.policies.map(({ time }) =>
      entries(time.critical).reduce((sum, [, seconds]) => sum + seconds, 0),
    ),
    ...result.policies.map(({ time }) => time.waiting),
  );
  // Both pictures on one scale: lengths say which is more.
  const scale = { domain: [0, longest * 1e3], nice: true };
  const shown = ACTIVITIES.filter((activity) => values.some((value) => value.activity === activity));
  const y = {
    field: 'policy',
    type: 'nominal',
    title: null,
    sort: null,
    axis: { domain: false, ticks: false },
  };
  const phases = [
    ...new Set(result.policies.flatMap(({ time }) => entries(time.critical).map(([phase]) => phase))),
  ];
  return {
    id: 'time',
    title: 'Where the time went',
    text:
      'Above: the chain of tasks that ends last, of which each starts the moment the one before it ends; it adds up to ' +
      'the mean step. Below, apart from it: how long a GPU is ready for an exchange and waits for others, on average. ' +
      'Waiting is not on the chain: while some GPUs wait, the slowest one works.',
    charts: [
      {
        title: 'on the critical path',
        width: PLOT_WIDTH,
        height: { step: 26 },
        data: { values },
        mark: { type: 'bar', height: 16 },
        encoding: {
          y,
          x: { field: 'ms', type: 'quantitative', title: `ms per ${unit}`, stack: 'zero', scale },
          order: { field: 'order', type: 'quantitative' },
          color: {
            field: 'activity',
            type: 'nominal',
            title: null,
            scale: { domain: shown, range: shown.map((activity) => ACTIVITY_COLOURS[activity]) },
          },
        },
      },
      {
        title: 'waiting for other GPUs, mean per GPU',
        width: PLOT_WIDTH,
        height: { step: 26 },
        data: { values: waits },
        mark: { type: 'bar', height: 16, color: ACTIVITY_COLOURS.waiting },
        encoding: { y, x: { field: 'ms', type: 'quantitative', title: `ms per ${unit}`, scale } },
      },
    ],
    table: {
      head: ['policy', ...phases, 'sum (mean step)', 'waiting per GPU'],
      rows: result.policies.map(({ time }, i) => [
        names[i],
        ...phases.map((phase) =>
          time.critical[phase] === undefined ? '–' : formatSeconds(time.critical[phase]),
        ),
        formatSeconds(entries(time.critical).reduce((sum, [, seconds]) => sum + seconds, 0)),
        formatSeconds(time.waiting),
      ]),
    },
  };
}
