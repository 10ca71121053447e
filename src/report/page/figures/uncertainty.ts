import { PLOT_WIDTH, type Figure } from '../figure.js';
import type { PageData } from '../page-data.js';

const COLOURS = { fitted: '#0072b2', sampled: '#009e73', assumed: '#e69f00', unvalidated: '#d55e00' };

/** What may be wrong with the step of ep, cause by cause; the others have causes of the same kinds. */
export function uncertaintyFigure({ result, names }: PageData): Figure {
  const ep = result.policies.findIndex(({ policy }) => policy.kind === 'ep');
  const values = result.policies[ep].uncertainty.map(({ source, basis, range: [low, high] }) => ({
    source,
    basis,
    low,
    high,
  }));
  const shown = Object.fromEntries(
    Object.entries(COLOURS).filter(([basis]) => values.some((value) => value.basis === basis)),
  );
  return {
    id: 'uncertainty',
    title: 'What the uncertainty of a step is made of',
    text:
      'For ep: the factor by which the mean step would change if this cause alone were at the end of its 90 % range. ' +
      'Fitted: from errors against measurements. Sampled: from how steps scatter. Assumed: nobody measured it here. ' +
      'Unvalidated: no published measurement was found. The parts are added in quadrature. The table has every policy.',
    charts: [
      {
        width: PLOT_WIDTH,
        height: { step: 26 },
        data: { values },
        encoding: {
          y: {
            field: 'source',
            type: 'nominal',
            title: null,
            sort: null,
            axis: { domain: false, ticks: false },
          },
        },
        layer: [
          {
            mark: { type: 'rule', strokeDash: [4, 3], opacity: 0.6 },
            encoding: { x: { datum: 1 }, y: null },
          },
          {
            mark: { type: 'bar', height: 11 },
            encoding: {
              x: {
                field: 'low',
                type: 'quantitative',
                title: 'factor on the step of ep',
                scale: { zero: false },
              },
              x2: { field: 'high' },
              color: {
                field: 'basis',
                type: 'nominal',
                title: 'what the range rests on',
                scale: { domain: Object.keys(shown), range: Object.values(shown) },
              },
            },
          },
        ],
      },
    ],
    table: {
      head: ['policy', 'cause', 'rests on', 'from', 'to'],
      rows: result.policies.flatMap(({ uncertainty }, i) =>
        uncertainty.map(({ source, basis, range: [low, high] }) => [
          names[i],
          source,
          basis,
          low.toFixed(3),
          high.toFixed(3),
        ]),
      ),
    },
  };
}
