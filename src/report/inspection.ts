import type { BatchSkew, Estimate, Inspection, Level } from '../inspection/index.js';
import { plainTable } from './plain-table.js';
import { formatShare } from './units.js';

/** What a trace shows, as a person reads it. */
export function inspectionText(inspection: Inspection): string {
  return [
    ...aboutLines(inspection),
    '',
    levelTable(inspection.levels),
    '',
    batchTable(inspection.batches),
    '',
    ...changeLines(inspection),
    '',
    heatMap(inspection),
    ...inspection.trace.notes.map((note) => `* ${note}`),
    ...inspection.warnings.map((warning) => `! ${warning}`),
  ].join('\n');
}

function aboutLines({ trace }: Inspection): string[] {
  const { layerIds, experts, topK, tokens, padding, sequences, domains, steps, gpus, placements } = trace;
  const parts = [
    `${tokens.toLocaleString('en')} tokens`,
    ...(padding > 0 ? [`and ${padding.toLocaleString('en')} of padding, left out here`] : []),
    ...(sequences === null ? [] : [`${sequences} sequences`]),
    ...(domains === null ? [] : [`${domains} domains`]),
    ...(steps === null ? [] : [`${steps} steps`]),
    ...(gpus === null ? [] : [`${gpus} source GPUs`]),
    ...(placements === 0 ? [] : [`${placements} placements`]),
    ...(trace.gateWeights ? ['gate weights'] : []),
  ];
  return [
    `${trace.model}${trace.phase === null ? '' : `, ${trace.phase}`}: ${layerIds.length} layers × ${experts} experts, top ${topK}`,
    parts.join(', '),
    ...(trace.source === ''
      ? []
      : [`source: ${trace.source}${trace.licence === '' ? '' : ` (${trace.licence})`}`]),
  ];
}

const unitName = ({ unit, units }: Level) => (unit === 'expert' ? 'expert' : `EP ${units}`);

function levelTable(levels: readonly Level[]): string {
  const rows = levels.map((level) => {
    const { median, mean, floor } = level;
    return [
      unitName(level),
      `${interval(median.maxOverMean)} (${mean.maxOverMean.toFixed(3)})`,
      floor.toFixed(2),
      median.balancedness.value.toFixed(3),
      interval(median.gini),
      median.coefficientOfVariation.value.toFixed(3),
      median.entropy.value.toFixed(3),
      median.maxVioGlobal.value.toFixed(3),
      String(level.layers.reduce((sum, { dead }) => sum + dead, 0)),
    ];
  });
  const head = ['whole trace', 'γ (mean)', 'floor', 'balanced', 'Gini', 'CV', 'entropy', 'MaxVio', 'dead'];
  return (
    plainTable(head, rows) +
    '\nγ: max/mean of the layer, median over layers [90 % over sequences drawn anew] (mean over layers); floor: what a ' +
    'uniform router would show; balanced: mean/max; dead: units without load, in all layers'
  );
}

function interval({ value, low, high }: Estimate): string {
  return low === null || high === null
    ? value.toFixed(3)
    : `${value.toFixed(3)} [${low.toFixed(2)}, ${high.toFixed(2)}]`;
}

function batchTable(batches: readonly BatchSkew[]): string {
  const units = batches[0]?.levels.map(({ units: count }) => count) ?? [];
  const rows = batches.map((batch) => [
    batch.batching,
    String(batch.tokens),
    String(batch.batches),
    ...batch.levels.map(
      ({ median, p95, floor }) => `${median.toFixed(2)} … ${p95.toFixed(2)} (${floor.toFixed(2)})`,
    ),
    batch.maxVioBatch.toFixed(2),
    batch.autocorrelation === null ? '–' : batch.autocorrelation.toFixed(2),
    batch.effectiveBatches === null ? '–' : batch.effectiveBatches.toFixed(0),
  ]);
  const head = [
    'batches',
    'tokens',
    'number',
    ...units.map((count, i) => (i === 0 ? 'γ expert' : `γ EP ${count}`)),
    'MaxVio',
    'autocorr.',
    'worth',
  ];
  return (
    plainTable(head, rows) +
    '\nγ of a batch: median … 95 % over batches and layers (floor at that size); MaxVio: mean per batch; autocorr.: of ' +
    'γ from batch to batch; worth: as many independent batches'
  );
}

function changeLines({ drift, domains, reuse, affinity }: Inspection): string[] {
  return [
    drift === null
      ? 'drift: not known without parts in their order'
      : `drift: loads of the two halves correlate by ${drift.correlation.toFixed(3)} (in random order ${drift.chance.correlation.toFixed(3)}); ` +
        `${formatShare(drift.distance)} of the load moved (${formatShare(drift.chance.distance)})`,
    domains === null
      ? 'domain effect: no domains are known'
      : `domain effect: ${formatShare(domains.distance)} of a domain's load goes to other experts than the whole's ` +
        `(names dealt at random ${formatShare(domains.chance)}); γ within a domain: ` +
        domains.levels
          .map(
            ({ units, within, chance }, i) =>
              `${i === 0 ? 'expert' : `EP ${units}`} ${within.toFixed(2)} (${chance.toFixed(2)})`,
          )
          .join(', '),
    reuse === null
      ? 'adjacent tokens: not known without sequences'
      : `adjacent tokens share ${formatShare(reuse.share)} of their experts (|S(t) ∩ S(t−1)| / top-k, mean over layers and neighbours in a sequence; a uniform router: ${formatShare(reuse.uniform)})`,
    affinity === null
      ? 'layer to layer: not known of counts, of one layer, or of that many experts'
      : `layer to layer: ${formatShare(affinity.distance)} of the pairs of experts in neighbouring layers are not chance ` +
        `(pairs of strangers: ${formatShare(affinity.chance)})`,
  ];
}

const SHADES = [' ', '░', '▒', '▓', '█'];
const MOST_COLUMNS = 96;
/** Load over the layer's mean from which a cell is darkest. */
const DARKEST = 3;

/** A line for every layer; where experts outnumber columns, a cell shows the hottest of its experts. */
function heatMap({ heat, trace }: Inspection): string {
  const { experts, layerIds } = trace;
  const columns = Math.min(experts, MOST_COLUMNS);
  const width = Math.max(...layerIds.map((id) => String(id).length));
  const lines = heat.map((loads, layer) => {
    const cells = Array.from({ length: columns }, (_, column) => {
      const own = loads.slice(
        Math.floor((column * experts) / columns),
        Math.floor(((column + 1) * experts) / columns),
      );
      const level = Math.min(DARKEST, Math.max(...own)) / DARKEST;
      return SHADES[Math.min(SHADES.length - 1, Math.floor(level * SHADES.length))];
    });
    return `${String(layerIds[layer]).padStart(width)} ${cells.join('')}`;
  });
  const scale = SHADES.map(
    (shade, i) => `'${shade}' from ${((i * DARKEST) / SHADES.length).toFixed(1)}`,
  ).join(', ');
  return [
    `load over the layer's mean, a line for each layer, experts from left to right: ${scale}`,
    ...lines,
  ].join('\n');
}
