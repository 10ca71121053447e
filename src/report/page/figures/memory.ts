import type { MemorySample, Recording } from '../../../simulation/index.js';
import { formatBytes } from '../../units.js';
import { MEMORY_COLOURS, OTHER_COLOUR } from '../colours.js';
import { BY_POLICY, PLOT_WIDTH, type Figure } from '../figure.js';
import type { PageData } from '../page-data.js';

const GIB = 2 ** 30;

/** Share of the card above which its limit is drawn; below, the use would be a flat line. */
const NEAR_THE_LIMIT = 0.3;

/** borrowedWeights → borrowed weights. */
const inWords = (category: string) => category.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);

/** Seconds below which two moments are one: where a layer ends, the next one starts. */
const MOMENT = 1e-12;

const sum = (bytes: readonly number[]) => bytes.reduce((total, part) => total + part, 0);

/** Bytes in use on each policy's fullest GPU in the last recorded step; null where none was recorded. */
export function memoryFigure({ result, names, headings }: PageData, recording: Recording): Figure | null {
  const drawn = recording.policies.flatMap(({ policy, steps }) => {
    const layers = steps.at(-1)?.layers ?? [];
    const fullest = fullestOf(layers.flatMap(({ memory }) => memory));
    if (fullest === null) return [];
    const samples = layers.flatMap(({ memory }) => memory.filter(({ gpu }) => gpu === fullest.gpu));
    return [
      {
        name: names[policy],
        heading: headings[policy],
        place: policy,
        fullest,
        samples: inOrder(samples),
        layers: layers.length,
        end: layers.at(-1)!.end,
      },
    ];
  });
  if (drawn.length === 0) return null;
  const { memoryCategories } = recording;
  // What stays lies below what comes and goes, which would else move it up and down.
  const least = memoryCategories.map((_, i) =>
    Math.min(...drawn.flatMap(({ samples }) => samples.map(({ bytes }) => bytes[i]))),
  );
  const used = memoryCategories
    .filter((_, i) => drawn.some(({ samples }) => samples.some(({ bytes }) => bytes[i] > 0)))
    .sort((a, b) => least[memoryCategories.indexOf(b)] - least[memoryCategories.indexOf(a)]);
  const limit = recording.policies[0].memoryLimit;
  const most = Math.max(...drawn.map(({ fullest }) => sum(fullest.bytes)));
  const withLimit = most > NEAR_THE_LIMIT * limit;
  const layerOf = used.map((category) => memoryCategories.indexOf(category));
  const values = drawn.flatMap(({ heading, place, samples, end }) =>
    stretchesOf(samples, layerOf, end).map(({ layer, start, end: until, bottom, top }) => ({
      policy: heading,
      place,
      category: inWords(used[layer]),
      start: start * 1e3,
      end: until * 1e3,
      bottom: bottom / GIB,
      top: top / GIB,
      limit: limit / GIB,
    })),
  );
  const all = recording.layers.length;
  const kept = Math.min(...drawn.map(({ layers }) => layers));
  const which =
    kept < all ? `the first ${kept} of its ${all} layers, which alone were kept,` : `its ${all} layers`;
  const layered = all > 1 ? `, ${which} one after another` : '';
  const edge = 'limit of the card';
  const domain = [...used.map(inWords), ...(withLimit ? [edge] : [])];
  const range = [
    ...used.map((category) => MEMORY_COLOURS[category] ?? OTHER_COLOUR),
    ...(withLimit ? ['#c00000'] : []),
  ];
  const colour = { type: 'nominal', title: null, scale: { domain, range } };
  return {
    id: 'memory',
    title: 'Memory during a step, on the fullest GPU',
    text:
      `Bytes in use by category in step ${recording.policies[0].steps.at(-1)!.step}${layered}: what is resident of the ` +
      `layer, and the buffers that its tasks allocate and free. Tensors may use ${formatBytes(limit)} of the card's ` +
      `${formatBytes(result.policies[0].peakMemory.capacity)}; ` +
      (withLimit ? 'the red line is that limit.' : 'the limit is far above what is drawn.'),
    charts: [
      {
        data: { values },
        facet: BY_POLICY,
        spec: {
          width: PLOT_WIDTH,
          height: 100,
          layer: [
            {
              mark: { type: 'rect', stroke: null },
              encoding: {
                x: { field: 'start', type: 'quantitative', title: 'ms from the start of the step' },
                x2: { field: 'end' },
                y: {
                  field: 'bottom',
                  type: 'quantitative',
                  title: 'GiB',
                  axis: { tickCount: 4, format: '~r' },
                },
                y2: { field: 'top' },
                color: { field: 'category', ...colour },
              },
            },
            ...(withLimit
              ? [
                  {
                    mark: { type: 'rule', strokeDash: [6, 3], strokeWidth: 2 },
                    encoding: {
                      y: { field: 'limit', type: 'quantitative', aggregate: 'max' },
                      color: { datum: edge, ...colour },
                    },
                  },
                ]
              : []),
          ],
        },
        resolve: { axis: { x: 'independent' } },
      },
    ],
    table: {
      head: ['policy', 'fullest GPU', 'at', 'in use', ...used.map(inWords), 'limit'],
      rows: drawn.map(({ name, fullest: { gpu, time, bytes } }) => [
        name,
        String(gpu),
        `${(time * 1e3).toFixed(3)} ms`,
        formatBytes(sum(bytes)),
        ...used.map((category) => formatBytes(bytes[memoryCategories.indexOf(category)])),
        formatBytes(limit),
      ]),
    },
  };
}

/** A category's bytes on top of those below it, as long as neither changes. */
interface Stretch {
  layer: number;
  start: number;
  end: number;
  bottom: number;
  top: number;
}

/**
 * @param order of the categories, from the bottom: their places in the samples' bytes
 * @param end of the last sample
 */
function stretchesOf(samples: readonly MemorySample[], order: readonly number[], end: number): Stretch[] {
  const stretches: Stretch[] = [];
  const last: Stretch[] = [];
  samples.forEach(({ time, bytes }, i) => {
    const until = samples[i + 1]?.time ?? end;
    let top = 0;
    order.forEach((category, layer) => {
      const bottom = top;
      top += bytes[category];
      const before = last[layer] as Stretch | undefined;
      if (before?.bottom === bottom && before.top === top) before.end = until;
      else {
        last[layer] = { layer, start: time, end: until, bottom, top };
        if (top > bottom) stretches.push(last[layer]);
      }
    });
  });
  return stretches;
}

/** Samples of one GPU at rising times, the later one where two are of one moment. */
function inOrder(samples: readonly MemorySample[]): MemorySample[] {
  const kept: MemorySample[] = [];
  for (const sample of samples) {
    if (kept.length > 0 && sample.time <= kept[kept.length - 1].time + MOMENT) kept.pop();
    kept.push(sample);
  }
  return kept;
}

/** The moment with the most bytes in use; null without samples. */
function fullestOf(samples: readonly MemorySample[]): MemorySample | null {
  let fullest: MemorySample | null = null;
  for (const sample of samples)
    if (fullest === null || sum(sample.bytes) > sum(fullest.bytes)) fullest = sample;
  return fullest;
}
