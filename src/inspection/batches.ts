import { effectiveSize, floorOfSkew } from '../metrics/index.js';
import { batchings, randomStream, type TokenTrace, type Trace } from '../routing/index.js';
import { afterCalibration } from './observe.js';
import { lagOne, meanOf, medianOf } from './load-statistics.js';

/** γ at one level over all batches and layers. */
export interface BatchLevel {
  /** Experts or GPUs. */
  units: number;
  median: number;
  mean: number;
  /** 95 % of the batches and layers are at most as skewed. */
  p95: number;
  /** What a perfectly uniform router would show at this batch size. */
  floor: number;
}

/** How skewed single batches are. */
export interface BatchSkew {
  batching: 'in-order' | 'shuffled' | 'decode-lockstep' | 'recorded';
  /** Tokens of a batch (of the first one, where they differ). */
  tokens: number;
  batches: number;
  levels: BatchLevel[];
  /** Mean of (largest − mean) / mean copies per expert over batches and layers. */
  maxVioBatch: number;
  /** Standard deviation over mean of the batch's γ (mean over layers, at the first level of GPUs). */
  variation: number;
  /** Of the batch's γ (mean over layers, at the first level of GPUs): autocorrelation at lag 1. */
  autocorrelation: number | null;
  /** Independent batches that these are worth, given their correlation. */
  effectiveBatches: number | null;
}

/** Live sequences of a decode, where there are as many. */
const LIVE = 64;
/** Share of the sequences that live at once where there are few, so that some are left to follow. */
const LIVE_SHARE = 0.8;

/** Token numbers of batches in turn. */
type Batches = Iterable<ArrayLike<number>>;

/** What batches to look at, where another trace must be looked at alike. */
export interface BatchLimits {
  /** Live sequences of a decode. */
  live: number;
  /** Batches of each batching, at most. */
  batches: Partial<Record<BatchSkew['batching'], number>>;
}

/**
 * The batchings side by side: in recorded order, shuffled, as a decode; and the recording's own steps.
 * @param limits default: all batches, and as many live sequences as there is room for
 */
export function batchSkews(
  trace: Trace,
  units: readonly number[],
  batchTokens: number,
  limits?: BatchLimits,
): BatchSkew[] {
  const unordered = trace.header.stepOrder === 'unknown';
  if (trace.kind === 'counts') {
    const steps = trace.steps.filter(({ calibration }) => !calibration);
    const loads = steps.map(({ layers }) =>
      layers.map((counts) => foldSources(counts, trace.header.experts)),
    );
    return [skewOfLoads('recorded', trace, units, loads, unordered)];
  }
  const found: BatchSkew[] = [];
  const add = (batching: BatchSkew['batching'], batches: Batches) => {
    const skew = skewOfLoads(
      batching,
      trace,
      units,
      tokenLoads(trace, firstOf(batches, limits?.batches[batching])),
      false,
    );
    if (skew.batches > 0) found.push(skew);
  };
  add('in-order', batchesOf(trace, 'prefill-chunks', batchTokens));
  add('shuffled', batchesOf(trace, 'shuffled', batchTokens));
  const sequences =
    trace.sequenceStarts === null ? 0 : trace.sequenceStarts.length - 1 - afterCalibration(trace).sequence;
  const live = limits?.live ?? liveSequences(sequences);
  if (live > 0) add('decode-lockstep', batchesOf(trace, 'decode-lockstep', live));
  if (trace.batches) add('recorded', recordedBatches(trace));
  return found;
}

/** Sequences that live at once in a decode of so many. */
export function liveSequences(sequences: number): number {
  return Math.min(LIVE, Math.floor(LIVE_SHARE * sequences));
}

function* firstOf(batches: Batches, most = Infinity): Batches & Generator<ArrayLike<number>> {
  let left = most;
  for (const batch of batches) {
    if (left-- <= 0) return;
    yield batch;
  }
}

function batchesOf(trace: TokenTrace, kind: (typeof batchings)[number]['kind'], tokens: number): Batches {
  const first = afterCalibration(trace);
  const starts = trace.sequenceStarts?.subarray(first.sequence) ?? Int32Array.of(first.token, trace.tokens);
  const sequences = Array.from({ length: starts.length - 1 }, (_, i) => [starts[i], starts[i + 1]] as const);
  const batching = batchings.find((known) => known.kind === kind)!;
  return batching.steps({
    sequences,
    gpus: 1,
    tokensPerGpu: tokens,
    resample: false,
    random: () => randomStream('inspect', `batches/${kind}`),
  });
}

function* recordedBatches({ batches }: TokenTrace): Batches & Generator<Int32Array> {
  const { starts, calibrationSteps } = batches!;
  for (let step = calibrationSteps; step + 1 < starts.length; step++) {
    yield Int32Array.from({ length: starts[step + 1] - starts[step] }, (_, i) => starts[step] + i);
  }
}

/** Loads of the experts, layer by layer, of every batch without its padding. */
function* tokenLoads(trace: TokenTrace, batches: Batches): Generator<Float64Array[]> {
  const { rows, padding } = trace;
  const { experts, topK, layerIds } = trace.header;
  const perToken = layerIds.length * topK;
  for (const batch of batches) {
    const loads = layerIds.map(() => new Float64Array(experts));
    for (let i = 0; i < batch.length; i++) {
      const token = batch[i];
      if (padding?.[token] === 1) continue;
      const picks = rows.block(Math.floor(token / rows.blockTokens)).experts;
      const at = (token % rows.blockTokens) * perToken;
      for (let c = 0; c < perToken; c++) loads[Math.floor(c / topK)][picks[at + c]]++;
    }
    yield loads;
  }
}

function foldSources(counts: ArrayLike<number>, experts: number): Float64Array {
  const loads = new Float64Array(experts);
  for (let i = 0; i < counts.length; i++) loads[i % experts] += counts[i];
  return loads;
}

function skewOfLoads(
  batching: BatchSkew['batching'],
  { header }: Trace,
  units: readonly number[],
  batches: Iterable<Float64Array[]>,
  unordered: boolean,
): BatchSkew {
  const { experts, topK } = header;
  const gammas = units.map((): number[] => []);
  const series: number[] = [];
  const level = Math.max(
    0,
    units.findIndex((count) => count < experts),
  );
  const vios: number[] = [];
  let tokens = 0;
  for (const layers of batches) {
    let mean = 0;
    for (const loads of layers) {
      units.forEach((count, u) => {
        const gamma = maxOverMean(loads, count);
        gammas[u].push(gamma);
        if (u === level) mean += gamma / layers.length;
      });
      vios.push(maxOverMean(loads, experts) - 1);
    }
    series.push(mean);
    if (tokens === 0) tokens = Math.round(layers[0].reduce((sum, load) => sum + load, 0) / topK);
  }
  const values = Float64Array.from(series);
  return {
    batching,
    tokens,
    batches: series.length,
    levels: units.map((count, u) => {
      const sorted = Float64Array.from(gammas[u]).sort();
      return {
        units: count,
        median: medianOf(sorted),
        mean: meanOf(sorted),
        p95: sorted[Math.min(sorted.length - 1, Math.ceil(0.95 * sorted.length) - 1)],
        floor: series.length === 0 ? 1 : floorOfSkew(tokens, topK, experts, count),
      };
    }),
    maxVioBatch: meanOf(vios),
    variation: variationOf(values),
    autocorrelation: unordered || series.length < 4 ? null : lagOne(values),
    effectiveBatches: unordered || series.length < 4 ? null : effectiveSize(values),
  };
}

function variationOf(values: Float64Array): number {
  const mean = meanOf(values);
  return Math.sqrt(meanOf(values.map((value) => (value - mean) ** 2))) / mean;
}

function maxOverMean(loads: Float64Array, units: number): number {
  const { length: experts } = loads;
  let total = 0;
  let largest = 0;
  let own = 0;
  let unit = 0;
  for (let e = 0; e < experts; e++) {
    const next = Math.floor((e * units) / experts);
    if (next !== unit) {
      own = 0;
      unit = next;
    }
    own += loads[e];
    total += loads[e];
    if (own > largest) largest = own;
  }
  return total === 0 ? 1 : (largest * units) / total;
}
