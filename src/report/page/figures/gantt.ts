import type { RecordedLayer, Recording } from '../../../simulation/index.js';
import { formatSeconds } from '../../units.js';
import { ACTIVITIES, ACTIVITY_COLOURS, activityOf } from '../colours.js';
import { BY_POLICY, PLOT_WIDTH, type Figure } from '../figure.js';
import type { PageData } from '../page-data.js';

/** GPUs that fit under each other; of more, those that others wait for are shown, and the fullest and emptiest under standard EP. */
const MOST_GPUS = 8;
/** With GPUs that others wait for under one policy or another. */
const MOST_ROWS = 12;

/** Share of a GPU's row that stays free between it and the next. */
const GAP = 0.25;

/** Streams from top to bottom in a GPU's row; others come after them. */
const LANES = ['host', 'compute', 'network', 'weights', 'movement', 'host copies'];

/** The layer of the last recorded step that takes standard EP longest. */
function slowestLayer({ recording }: PageData, ep: number): { step: number; at: number; of: number } | null {
  const last = recording?.policies[ep]?.steps.at(-1);
  if (!last) return null;
  const seconds = last.layers.map(({ start, end }) => end - start);
  return { step: last.step, at: seconds.indexOf(Math.max(...seconds)), of: seconds.length };
}

/** @param recorded layers of the step whose tasks were kept */
function whichLayer({ layers }: Recording, recorded: number): string {
  if (layers.length === 1) return '';
  if (recorded === layers.length) return ', the layer that takes ep longest';
  return `, of the first ${recorded} of ${layers.length} layers, which alone were kept, the one that takes ep longest`;
}

/** One layer of one step under every policy, on one axis; null where no step was recorded. */
export function ganttFigure(data: PageData, recording: Recording): Figure | null {
  const { result, names, headings } = data;
  const ep = result.policies.findIndex(({ policy }) => policy.kind === 'ep');
  const slowest = slowestLayer(data, ep);
  if (slowest === null) return null;
  const drawn = recording.policies.flatMap(({ policy, steps }) => {
    const layer = steps.find(({ step }) => step === slowest.step)?.layers[slowest.at];
    return layer === undefined
      ? []
      : [{ name: names[policy], heading: headings[policy], place: policy, layer }];
  });
  const gpus = shownGpus(
    recording,
    slowest.at,
    drawn.map(({ layer }) => layer),
  );
  const lanes = lanesOf(drawn.map(({ layer }) => layer));
  const values = drawn.flatMap(({ heading, place, layer }) =>
    barsOf(layer, gpus, lanes).map((bar) => ({ policy: heading, place, ...bar })),
  );
  const shown = ACTIVITIES.filter((activity) => values.some((value) => value.activity === activity));
  const layer = recording.layers[slowest.at];
  const some =
    gpus.length < recording.gpus
      ? ` Shown are ${gpus.length} of ${recording.gpus} GPUs: of each policy the one that waits least, which others wait for, and those with the most and the fewest copies under standard EP.`
      : '';
  return {
    id: 'gantt',
    title: 'One step under every policy',
    text:
      `Layer ${layer} of step ${slowest.step}${whichLayer(recording, slowest.of)}, ` +
      `all policies on one axis. Every GPU has a row of thin lanes, from the top: ${lanes.join(', ')}. Grey: the GPU is ready ` +
      `for an exchange and waits for others.${some}` +
      (recording.leftOut === null ? '' : ` Left out: ${recording.leftOut}.`),
    charts: [
      {
        data: { values },
        facet: BY_POLICY,
        spec: {
          width: PLOT_WIDTH,
          height: Math.max(60, gpus.length * Math.max(16, 7 * lanes.length)),
          mark: { type: 'rect', stroke: null },
          encoding: {
            x: {
              field: 'start',
              type: 'quantitative',
              title: 'ms from the start of the layer',
              axis: { grid: true },
            },
            x2: { field: 'end' },
            y: {
              field: 'top',
              type: 'quantitative',
              title: null,
              scale: { domain: [0, gpus.length], reverse: true, nice: false },
              axis: {
                values: gpus.map((_, row) => row + (1 - GAP) / 2),
                labelExpr: `'GPU ' + ${JSON.stringify(gpus)}[floor(datum.value)]`,
                grid: false,
                ticks: false,
                domain: false,
              },
            },
            y2: { field: 'bottom' },
            color: {
              field: 'activity',
              type: 'nominal',
              title: null,
              scale: { domain: shown, range: shown.map((activity) => ACTIVITY_COLOURS[activity]) },
            },
          },
        },
        resolve: { axis: { x: 'independent' } },
      },
    ],
    table: {
      head: ['policy', 'GPU', 'stream', 'what', 'starts', 'ends'],
      rows: drawn.flatMap(({ name, layer: { slices, start: from } }) =>
        slices
          .filter(({ gpu }) => gpus.includes(gpu))
          .sort((a, b) => a.gpu - b.gpu || a.start - b.start)
          .map(({ gpu, stream, phase, start, end, facts }) => [
            name,
            String(gpu),
            stream,
            phase === 'wait' ? `wait for ${facts.for}` : phase,
            formatSeconds(start - from),
            formatSeconds(end - from),
          ]),
      ),
    },
  };
}

/** Rectangles in ms, and rows of GPUs. */
function barsOf({ slices, start: from }: RecordedLayer, gpus: readonly number[], lanes: string[]) {
  return slices.flatMap(({ gpu, stream, phase, start, end }) => {
    const row = gpus.indexOf(gpu);
    if (row < 0) return [];
    const lane = row + ((1 - GAP) * lanes.indexOf(stream)) / lanes.length;
    return [
      {
        activity: activityOf(phase),
        start: (start - from) * 1e3,
        end: (end - from) * 1e3,
        top: lane,
        bottom: lane + (1 - GAP) / lanes.length,
      },
    ];
  });
}

function lanesOf(layers: readonly RecordedLayer[]): string[] {
  const used = new Set(layers.flatMap(({ slices }) => slices.map(({ stream }) => stream)));
  return [
    ...LANES.filter((lane) => used.has(lane)),
    ...[...used].filter((lane) => !LANES.includes(lane)).sort(),
  ];
}

/**
 * All GPUs, or those that others wait for and the fullest and the emptiest of a layer with every copy at home, in their
 * order.
 * @param drawn the layer under every policy
 */
function shownGpus({ gpus, homeLoads }: Recording, layer: number, drawn: readonly RecordedLayer[]): number[] {
  const all = Array.from({ length: gpus }, (_, gpu) => gpu);
  if (gpus <= MOST_GPUS) return all;
  const byLoad = [...all].sort((a, b) => homeLoads[layer][b] - homeLoads[layer][a]);
  const ends = [...byLoad.slice(0, MOST_GPUS / 2), ...byLoad.slice(-MOST_GPUS / 2)];
  const shown = new Set([...drawn.map((own) => leastWaiting(own, gpus)), ...ends]);
  return [...shown].slice(0, MOST_ROWS).sort((a, b) => a - b);
}

/** The GPU that waits least, which is the one that others wait for. */
function leastWaiting({ slices }: RecordedLayer, gpus: number): number {
  const waits = new Float64Array(gpus);
  for (const { gpu, phase, start, end } of slices) if (phase === 'wait') waits[gpu] += end - start;
  return waits.indexOf(Math.min(...waits));
}
