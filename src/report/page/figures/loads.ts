import type { Recording } from '../../../simulation/index.js';
import { BY_POLICY, PLOT_WIDTH, type Figure } from '../figure.js';
import type { PageData } from '../page-data.js';

/** The layer whose fullest GPU has most beyond the mean with every copy at home; sums over layers would hide it. */
function mostUneven(homeLoads: Recording['homeLoads']): number {
  const uneven = homeLoads.map((own) => {
    const sum = own.reduce((total, load) => total + load, 0);
    return sum === 0 ? 0 : Math.max(...own) / sum;
  });
  return uneven.indexOf(Math.max(...uneven));
}

const count = (copies: number) => Math.round(copies).toLocaleString('en');

/** Copies that each GPU computes, before and after balancing. */
export function loadsFigure({ names, headings }: PageData, recording: Recording): Figure {
  const { layers, homeLoads } = recording;
  const at = mostUneven(homeLoads);
  const before = homeLoads[at];
  const after = recording.policies.map(({ loads }) => loads[at]);
  const where = layers.length > 1 ? ` in layer ${layers[at]}, the most uneven before balancing` : '';
  const values = recording.policies.flatMap(({ policy }, i) =>
    after[i].map((copies, gpu) => ({
      policy: headings[policy],
      place: policy,
      gpu,
      copies,
      before: before[gpu],
    })),
  );
  const kinds = ['as planned', 'every copy at its home'];
  const colour = (kind: string) => ({
    datum: kind,
    type: 'nominal',
    title: null,
    scale: { domain: kinds, range: ['#0072b2', '#d55e00'] },
  });
  return {
    id: 'loads',
    title: 'Copies that each GPU computes, before and after balancing',
    text:
      `Mean copies per step${where}; a copy is one token sent to one expert. The line is the load with every ` +
      'expert at its home GPU, the bar what the policy makes of it. A step waits for its fullest GPU: where that is ' +
      'another one in every step, bars of the mean are more even than any step.',
    charts: [
      {
        data: { values },
        facet: BY_POLICY,
        spec: {
          width: PLOT_WIDTH,
          height: 90,
          encoding: {
            x: {
              field: 'gpu',
              type: 'ordinal',
              title: 'GPU',
              axis: { labelAngle: 0 },
              scale: { paddingInner: 0.25 },
            },
          },
          layer: [
            {
              mark: { type: 'bar' },
              encoding: {
                y: {
                  field: 'copies',
                  type: 'quantitative',
                  title: 'copies',
                  axis: { tickCount: 4, format: '.3~s' },
                },
                color: colour(kinds[0]),
              },
            },
            {
              mark: { type: 'tick', thickness: 3, opacity: 1 },
              encoding: { y: { field: 'before', type: 'quantitative' }, color: colour(kinds[1]) },
            },
          ],
        },
        resolve: { axis: { x: 'independent' } },
      },
    ],
    table: {
      head: ['GPU', 'every copy at home', ...recording.policies.map(({ policy }) => names[policy])],
      rows: before.map((copies, gpu) => [
        String(gpu),
        count(copies),
        ...after.map((loads) => count(loads[gpu])),
      ]),
    },
  };
}

/** Load of every GPU in every layer, over the layer's mean; null for a single layer, which `loadsFigure` shows. */
export function layersFigure({ names, headings }: PageData, recording: Recording): Figure | null {
  const { layers, homeLoads, policies } = recording;
  if (layers.length === 1) return null;
  const rows = [
    { name: 'every copy at its home', heading: 'every copy at its home', loads: homeLoads },
    ...policies.map(({ policy, loads }) => ({ name: names[policy], heading: headings[policy], loads })),
  ];
  const overMean = rows.map(({ name, heading, loads }) => ({
    name,
    heading,
    loads: loads.map((own) => {
      const mean = own.reduce((sum, load) => sum + load, 0) / own.length;
      return own.map((load) => (mean > 0 ? load / mean : 0));
    }),
  }));
  const values = overMean.flatMap(({ heading, loads }, place) =>
    loads.flatMap((own, at) =>
      own.map((load, gpu) => ({
        policy: heading,
        place,
        layer: layers[at],
        gpu,
        load: Number(load.toFixed(4)),
      })),
    ),
  );
  const cell = Math.max(4, Math.min(16, 240 / layers.length));
  return {
    id: 'layers',
    title: 'Load of every GPU in every layer',
    text: "Copies of a GPU over the layer's mean GPU, averaged over steps. 1 is even; the fullest GPU of a layer sets its time.",
    charts: [
      {
        data: { values },
        facet: BY_POLICY,
        spec: {
          width: PLOT_WIDTH,
          height: { step: cell },
          mark: 'rect',
          encoding: {
            x: { field: 'gpu', type: 'ordinal', title: 'GPU', axis: { labelAngle: 0 } },
            y: { field: 'layer', type: 'ordinal', title: 'layer' },
            color: {
              field: 'load',
              type: 'quantitative',
              title: "load / layer's mean",
              scale: { scheme: 'blueorange', domainMid: 1 },
            },
          },
        },
        resolve: { axis: { x: 'independent' } },
      },
    ],
    table: {
      head: ['policy', 'layer', ...Array.from({ length: recording.gpus }, (_, gpu) => `GPU ${gpu}`)],
      rows: overMean.flatMap(({ name, loads }) =>
        loads.map((own, at) => [name, String(layers[at]), ...own.map((load) => load.toFixed(2))]),
      ),
    },
  };
}
