import { floorOfSkew, loadStatistics, statisticNames, type LoadStatistics } from '../metrics/index.js';
import type { Trace } from '../routing/index.js';
import { batchSkews, type BatchSkew } from './batches.js';
import { domainEffect, driftOf, type DomainEffect, type Drift } from './change.js';
import { groupLoads, meanOf, medianOf } from './load-statistics.js';
import { afterCalibration, observe, type Observed } from './observe.js';
import { estimateOf, replicates, type Estimate } from './resample.js';

/** Skew of the whole trace at one level: experts, or the GPUs of one EP size. */
export interface Level {
  unit: 'expert' | 'gpu';
  /** Number of experts, or of GPUs with contiguous experts. */
  units: number;
  /** Median over layers, with its interval over resampled sequences. */
  median: Record<keyof LoadStatistics, Estimate>;
  /** Mean over layers. */
  mean: LoadStatistics;
  /** By layer. */
  layers: LoadStatistics[];
  /** γ that a perfectly uniform router would show over as many tokens. */
  floor: number;
}

/** What a trace shows of its routing. */
export interface Inspection {
  schema: 'epsim/inspection@1';
  trace: {
    model: string;
    kind: Trace['kind'];
    phase: string | null;
    layerIds: readonly number[];
    experts: number;
    topK: number;
    tokens: number;
    padding: number;
    sequences: number | null;
    domains: number | null;
    steps: number | null;
    gpus: number | null;
    placements: number;
    gateWeights: boolean;
    source: string;
    licence: string;
    notes: readonly string[];
  };
  levels: Level[];
  batches: BatchSkew[];
  drift: Drift | null;
  domains: DomainEffect | null;
  /**
   * Share of a token's experts that the token before it in its sequence chose too, Σ |S(t) ∩ S(t−1)| / (pairs · topK) over
   * layers and pairs of neighbours; and a uniform router's, topK / experts.
   */
  reuse: { share: number; uniform: number } | null;
  /** Distance of the experts' pairs in neighbouring layers from independence, and what chance shows; 0 to 1. */
  affinity: { distance: number; chance: number } | null;
  /** Load of every expert over its layer's mean, [layer][expert]. */
  heat: number[][];
  /** Where a number rests on too little. */
  warnings: string[];
}

export interface InspectOptions {
  /** EP sizes: GPUs that the experts are split over contiguously. */
  ep: readonly number[];
  /** Tokens of a batch. */
  batchTokens: number;
}

/** @throws RangeError where an EP size does not fit the experts */
export function inspectTrace(trace: Trace, { ep, batchTokens }: InspectOptions): Inspection {
  const { header } = trace;
  const { experts, topK } = header;
  for (const size of ep) {
    if (size > experts || experts % size !== 0) {
      throw new RangeError(`found EP size ${size}, allowed: a divisor of the ${experts} experts`);
    }
  }
  const observed = observe(trace);
  const units = [experts, ...new Set(ep.filter((size) => size < experts))];
  const batches = batchSkews(trace, units, Math.min(batchTokens, fittingBatch(observed.tokens)));
  const drift = driftOf(observed, header.stepOrder === 'unknown');
  const domains = domainEffect(observed, units);
  const { total, layers, reuse, affinity } = observed;
  const sequences =
    trace.kind === 'tokens' && trace.sequenceStarts
      ? trace.sequenceStarts.length - 1 - afterCalibration(trace).sequence
      : null;
  return {
    schema: 'epsim/inspection@1',
    trace: {
      model: header.model,
      kind: trace.kind,
      phase: header.phase ?? null,
      layerIds: header.layerIds,
      experts,
      topK,
      tokens: observed.tokens,
      padding: observed.padding,
      sequences,
      domains: domains?.domains ?? header.domains?.length ?? null,
      steps: header.steps ?? (trace.kind === 'counts' ? trace.steps.length : null),
      gpus: header.gpus ?? null,
      placements: header.placements?.length ?? 0,
      gateWeights: trace.kind === 'tokens' && trace.rows.hasWeights,
      source: header.source,
      licence: header.licence,
      notes: header.notes,
    },
    levels: levelsOf(observed, units, topK),
    batches,
    drift,
    domains,
    reuse: reuse === null ? null : { share: reuse, uniform: topK / experts },
    affinity,
    heat: Array.from({ length: layers }, (_, layer) => {
      const loads = total.subarray(layer * experts, (layer + 1) * experts);
      const mean = meanOf(loads);
      return Array.from(loads, (load) => (mean === 0 ? 0 : load / mean));
    }),
    warnings: warningsOf(trace, observed, batches, batchTokens, sequences),
  };
}

/** The largest power of two of which a short recording has eight. */
function fittingBatch(tokens: number): number {
  return Math.max(1, 2 ** Math.floor(Math.log2(Math.max(1, tokens / 8))));
}

function levelsOf(observed: Observed, units: readonly number[], topK: number): Level[] {
  const { total, layers, experts, tokens } = observed;
  const byLayer = (loads: Float64Array, count: number) =>
    Array.from({ length: layers }, (_, layer) =>
      loadStatistics(groupLoads(loads, count, layer * experts, experts)),
    );
  const drawn = units.map(() => statisticNames.map((): number[] => []));
  for (const sum of replicates(observed)) {
    units.forEach((count, u) => {
      const own = byLayer(sum, count);
      statisticNames.forEach((name, s) => drawn[u][s].push(medianOf(own.map((layer) => layer[name]))));
    });
  }
  return units.map((count, u) => {
    const own = byLayer(total, count);
    const each = <T>(make: (name: keyof LoadStatistics, index: number) => T) =>
      Object.fromEntries(statisticNames.map((name, s) => [name, make(name, s)])) as Record<
        keyof LoadStatistics,
        T
      >;
    return {
      unit: count === experts ? 'expert' : 'gpu',
      units: count,
      median: each((name, s) => estimateOf(medianOf(own.map((layer) => layer[name])), drawn[u][s])),
      mean: each((name) => meanOf(own.map((layer) => layer[name]))),
      layers: own,
      floor: floorOfSkew(tokens, topK, experts, count),
    };
  });
}

/** Copies of an average expert below which single experts' loads are mostly chance. */
const FEW_COPIES = 100;
/** Sequences below which the intervals are rough. */
const FEW_SEQUENCES = 30;
/** Batches below which a median of theirs is rough. */
const FEW_BATCHES = 20;

function warningsOf(
  trace: Trace,
  { tokens, experts, total, parts }: Observed,
  batches: readonly BatchSkew[],
  batchTokens: number,
  sequences: number | null,
): string[] {
  const { topK } = trace.header;
  const warnings: string[] = [];
  const copies = (tokens * topK) / experts;
  if (copies < FEW_COPIES) {
    warnings.push(
      `${tokens} tokens give an average expert ${copies.toFixed(0)} copies in a layer: its load, and γ per expert, are largely chance`,
    );
  }
  if (total.some((load) => load === 0) && copies < FEW_COPIES) {
    warnings.push(
      'experts without load may only not have come up yet: they are no sign of dead experts here',
    );
  }
  if (trace.kind === 'counts' || sequences === null) {
    warnings.push('no sequences, so that nothing can be drawn anew: numbers come without intervals');
  } else if (sequences < FEW_SEQUENCES) {
    warnings.push(`${sequences} sequences: the intervals are rough, and other traffic may differ by more`);
  }
  if (!parts.whole)
    warnings.push('sequences are drawn in runs, because there are too many to be held one by one');
  const inOrder = batches.find(({ batching }) => batching === 'in-order');
  if (inOrder && inOrder.tokens < batchTokens) {
    warnings.push(`batches of ${inOrder.tokens} tokens instead of ${batchTokens}: the recording is short`);
  }
  for (const { batching, batches: count, effectiveBatches } of batches) {
    const worth = effectiveBatches ?? count;
    if (worth < FEW_BATCHES) {
      warnings.push(`${batching}: ${count} batches are worth ${worth.toFixed(0)} independent ones`);
    }
  }
  if (trace.kind === 'tokens' && trace.sequenceDomains) {
    const sizes = new Map<number, number>();
    for (const domain of trace.sequenceDomains) sizes.set(domain, (sizes.get(domain) ?? 0) + 1);
    const few = [...sizes.values()].filter((size) => size < 3).length;
    if (few > 0)
      warnings.push(`${few} of ${sizes.size} domains have fewer than 3 sequences: their effect is rough`);
  }
  return warnings;
}
