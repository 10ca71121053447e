import type { Recording } from '../../../simulation/index.js';
import { BY_POLICY, type Figure } from '../figure.js';
import { headingsOf } from '../headings.js';
import type { PageData } from '../page-data.js';

/** Rows and columns above which neighbouring GPUs are taken together. */
const MOST_BLOCKS = 64;
/** Characters that fit above a matrix. */
const MOST_HEADING = 24;
/** Width of a matrix, in pixels. */
const PANEL = 184;

/** Who sends how many copies to whom. */
export function trafficFigure({ names }: PageData, recording: Recording): Figure {
  const { gpus } = recording;
  const together = Math.ceil(gpus / MOST_BLOCKS);
  const blocks = Math.ceil(gpus / together);
  const label = (block: number) =>
    together === 1 ? String(block) : `${block * together}–${Math.min(gpus, (block + 1) * together) - 1}`;
  const cell = Math.max(2, Math.floor(PANEL / blocks));
  const matrices = recording.policies.map(({ traffic }) => {
    const sums = Array.from({ length: blocks }, () => new Array<number>(blocks).fill(0));
    traffic.forEach((row, source) =>
      row.forEach((copies, to) => {
        sums[Math.floor(source / together)][Math.floor(to / together)] += copies;
      }),
    );
    return sums;
  });
  const headings = headingsOf(names, MOST_HEADING);
  const values = recording.policies.flatMap(({ policy }, i) =>
    matrices[i].flatMap((row, source) =>
      row.map((copies, to) => ({
        policy: headings[policy],
        place: policy,
        source: label(source),
        to: label(to),
        copies: Math.round(copies),
      })),
    ),
  );
  return {
    id: 'traffic',
    title: 'Who sends to whom',
    text:
      'Mean copies per layer and step from the GPU that holds the token (row) to the GPU that computes the copy (column). ' +
      'The diagonal stays on its GPU and does not travel. A bright column is a GPU that all send to; where another is in every layer and step, the mean shows none.',
    charts: [
      {
        data: { values },
        columns: 3,
        facet: { ...BY_POLICY.row, header: { title: null, labelAnchor: 'start', labelPadding: 4 } },
        spec: {
          width: { step: cell },
          height: { step: cell },
          mark: 'rect',
          encoding: {
            x: {
              field: 'to',
              type: 'ordinal',
              title: 'computed on GPU',
              sort: null,
              axis: { labelAngle: 0 },
            },
            y: { field: 'source', type: 'ordinal', title: 'token on GPU', sort: null },
            color: {
              field: 'copies',
              type: 'quantitative',
              title: 'copies',
              scale: { scheme: 'viridis' },
              legend: { format: '.3~s' },
            },
          },
        },
        resolve: { axis: { x: 'independent', y: 'independent' } },
      },
    ],
    table: {
      head: ['policy', 'from GPU', ...Array.from({ length: blocks }, (_, block) => `to ${label(block)}`)],
      rows: recording.policies.flatMap(({ policy }, i) =>
        matrices[i].map((row, source) => [
          names[policy],
          label(source),
          ...row.map((copies) => Math.round(copies).toLocaleString('en')),
        ]),
      ),
    },
  };
}
