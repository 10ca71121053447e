import { steppedThing } from '../../cells.js';
import { formatFactor, formatSeconds } from '../../units.js';
import { PLOT_WIDTH, type Figure } from '../figure.js';
import type { PageData } from '../page-data.js';

const KINDS = ['exact', 'changes the output'];
const COLOURS = ['#0072b2', '#d55e00'];

/** Mean step and speed-up of every policy, with their intervals. */
export function latencyFigure({ result, names, headings }: PageData): Figure {
  const values = result.policies.map((p, i) => ({
    policy: headings[i],
    kind: KINDS[p.exact ? 0 : 1],
    mean: p.stepLatency.mean * 1e3,
    low: p.stepLatency.low * 1e3,
    high: p.stepLatency.high * 1e3,
    speedup: p.speedup.mean,
    speedupLow: p.speedup.low,
    speedupHigh: p.speedup.high,
  }));
  const chart = (field: string, low: string, high: string, title: string, one: boolean) => ({
    width: PLOT_WIDTH,
    height: { step: 30 },
    data: { values },
    encoding: {
      y: { field: 'policy', type: 'nominal', title: null, sort: null, axis: { domain: false, ticks: false } },
      color: {
        field: 'kind',
        type: 'nominal',
        title: 'mean (dot) and its 90 % interval (bar)',
        scale: { domain: KINDS, range: COLOURS },
        ...(one ? { legend: null } : {}),
      },
    },
    layer: [
      ...(one
        ? [
            {
              mark: { type: 'rule', strokeDash: [4, 3], opacity: 0.6 },
              encoding: { x: { datum: 1 }, y: null, color: null },
            },
          ]
        : []),
      {
        mark: { type: 'rule', strokeWidth: 4, opacity: 1 },
        encoding: {
          x: { field: low, type: 'quantitative', title, scale: { zero: true } },
          x2: { field: high },
        },
      },
      {
        mark: { type: 'point', filled: true, size: 120, opacity: 1 },
        encoding: { x: { field, type: 'quantitative' } },
      },
    ],
  });
  return {
    id: 'latency',
    title: 'How long a step takes, and how much faster than standard EP',
    text:
      `Above: mean latency of ${steppedThing(result)}. Below: the mean latency of ep over it, with the interval of the pair; what two ` +
      'policies share cancels there, so that it is narrower. Right of the dashed line a policy is faster than ep; a bar ' +
      `that crosses it can't be told from ep. The intervals hold ${result.routing.interval}.`,
    charts: [
      chart('mean', 'low', 'high', 'step (ms)', false),
      chart('speedup', 'speedupLow', 'speedupHigh', 'times as fast as ep', true),
    ],
    table: {
      head: ['policy', 'step', 'from', 'to', 'vs ep', 'from', 'to'],
      rows: result.policies.map(({ stepLatency, speedup }, i) => [
        names[i],
        ...[stepLatency.mean, stepLatency.low, stepLatency.high].map(formatSeconds),
        ...[speedup.mean, speedup.low, speedup.high].map(formatFactor),
      ]),
    },
  };
}
