import { isYardstick, policyOf, type PolicyOptions } from '../balancing/index.js';
import { PHASES, type Contexts, type Machine, type Phase } from '../execution/index.js';
import { summariseLatency, type Skew } from '../metrics/index.js';
import type { RoutingSource } from '../routing/index.js';
import type { Intervals } from './intervals.js';
import type { OwnMemory } from './model-memory.js';
import type { PolicyFigures } from './policy-figures.js';
import type { Fastest, PolicyResult, Serving, Speedup } from './result.js';
import type { Totals } from './totals.js';

/** What the results of all policies share. */
export interface Comparison {
  source: RoutingSource;
  warmup: number;
  machine: Machine;
  /** null in scope `layer`. */
  contexts: Contexts | null;
  /** KV cache of one more token, in scope `model`. */
  bytesPerToken: number;
  /** Tokens in the fullest KV cache, in scope `model`. */
  heldTokens: number;
  epMemory: OwnMemory | null;
  floors: { gpu: number; expert: number };
  intervals: Intervals;
  /** Index of `ep`. */
  ep: number;
}

/** The result of the `index`-th policy. */
export function policyResult(
  { options, anchor }: { options: PolicyOptions; anchor: boolean },
  index: number,
  { sums, series, counted }: PolicyFigures,
  {
    source,
    warmup,
    machine,
    contexts,
    bytesPerToken,
    heldTokens,
    epMemory,
    floors,
    intervals,
    ep,
  }: Comparison,
): PolicyResult {
  const policy = policyOf(options);
  const { totals, peakMemory, oom, memory, trained } = counted;
  const gpus = source.gpus * (trained?.stages ?? 1);
  const perLayer = (sum: number) => sum / totals.layers;
  // In scope layer every layer is a step of its own.
  const perStep = (sum: number) =>
    sum / (contexts === null && trained === null ? totals.layers : totals.steps);
  const { low, high, parts } = intervals.latency(index);
  const latency = { ...summariseLatency(series.latencies, sums.samples), low, high };
  const tokensPerStep = sums.tokens / sums.steps;
  const tokensPerSecondPerGpu = latency.mean > 0 ? tokensPerStep / gpus / latency.mean : 0;
  return {
    policy: options,
    anchor,
    exact: policy.exact(options),
    stepLatency: latency,
    layerLatency: contexts === null ? latency : layerLatencyOf(series.layerLatencies, source, latency),
    uncertainty: parts,
    speedup: intervals.ratio(ep, index),
    tokensPerSecondPerGpu,
    peakMemory,
    oom,
    imbalance: {
      gpu: {
        before: scaled(sums.gpuBefore, perLayer),
        after: scaled(totals.gpuSkew, perLayer),
        floor: floors.gpu,
      },
      expert: {
        before: scaled(sums.expertBefore, perLayer),
        after: scaled(totals.expertSkew, perLayer),
        floor: floors.expert,
      },
      ...(contexts === null ? {} : { attention: attentionImbalance(totals) }),
    },
    copies: { routed: totals.routed, dropped: totals.dropped, moved: totals.moved },
    locality: {
      ownGpu: share(totals.onOwnGpu, totals.placed),
      ownNode: share(totals.onOwnNode, totals.placed),
    },
    loss: policy.exact(options) ? null : lossOf(totals, source),
    bytes: {
      dispatch: totals.dispatchBytes,
      combine: totals.combineBytes,
      weights: totals.weightBytes,
      metadata: totals.metadataBytes,
    },
    weightTransfers: totals.weightTransfers,
    gatedLayers: totals.gatedLayers,
    time: {
      phases: secondsByPhase((p) => perStep(totals.phases[p]) / gpus),
      waiting: perStep(totals.waiting) / gpus,
      ...(contexts === null
        ? {}
        : {
            waitingFor: {
              source: perStep(totals.waitingForSource) / gpus,
              experts: perStep(totals.waiting - totals.waitingForSource) / gpus,
            },
          }),
      critical: secondsByPhase((p) => perStep(totals.critical[p])),
    },
    ...(contexts === null
      ? {}
      : {
          memory: memoryOf(memory!, epMemory!, heldTokens, bytesPerToken),
          serving: servingOf(contexts, latency.mean, tokensPerSecondPerGpu, machine),
        }),
    bound: policy.anchor
      ? null
      : {
          stepLatency: perStep(totals.bound),
          gap: totals.bound > 0 ? latency.mean / perStep(totals.bound) - 1 : null,
          of: policy.exact(options) ? 'all routed copies' : 'the copies it keeps, at the precisions it uses',
        },
    training: trained,
    transient: warmup > 0 ? { steps: warmup, meanLatency: series.transient / warmup / sums.samples } : null,
  };
}

/** Latency of a layer where a step is all of them: the interval is that of the step, in proportion. */
function layerLatencyOf(
  series: Float64Array,
  { layerIds }: RoutingSource,
  step: PolicyResult['stepLatency'],
): PolicyResult['layerLatency'] {
  const summary = summariseLatency(series, layerIds.length);
  const share = step.mean > 0 ? summary.mean / step.mean : 0;
  return { ...summary, low: share * step.low, high: share * step.high };
}

function share(part: number, of: number): number {
  return of > 0 ? part / of : 0;
}

function attentionImbalance({ leadingLargest, leadingMean }: Totals): number {
  return leadingMean > 0 ? Math.max(1, leadingLargest / leadingMean) : 1;
}

function memoryOf(
  { room, ...own }: OwnMemory,
  ep: OwnMemory,
  held: number,
  bytesPerToken: number,
): PolicyResult['memory'] {
  return { ...own, kvTokens: { room, held, overEp: room - ep.room, bytesPerToken } };
}

function servingOf(
  { phase }: Contexts,
  step: number,
  tokensPerSecondPerGpu: number,
  { cluster: { pricePerGpuHour } }: Machine,
): Serving {
  const perHour = tokensPerSecondPerGpu * 3600;
  return {
    timePerOutputToken: phase === 'decode' ? step : null,
    timeToFirstToken: phase === 'prefill' ? step : null,
    costPerMillionTokens:
      pricePerGpuHour === undefined || perHour === 0 ? null : (pricePerGpuHour / perHour) * 1e6,
  };
}

/** Phases that take time, by name. */
function secondsByPhase(of: (phase: number) => number): Partial<Record<Phase, number>> {
  return Object.fromEntries(
    PHASES.map((phase, p): [Phase, number] => [phase, of(p)]).filter(([, seconds]) => seconds > 0),
  );
}

function lossOf(totals: Totals, source: RoutingSource): PolicyResult['loss'] {
  return {
    keptCopies: totals.routed - totals.dropped,
    keptGateMass: totals.gateTokens > 0 ? totals.gateMass / totals.gateTokens : null,
    tokensLost: source.hasTokens ? totals.tokensLost : null,
    quantisedCopies: totals.quantised,
    droppedByExpert: Array.from(totals.droppedByExpert),
    droppedByGpu: Array.from(totals.droppedByGpu),
    ...(totals.gpusRewritten > 0 ? { rewritten: rewrittenOf(totals) } : {}),
  };
}

function rewrittenOf({
  rewritten,
  gpusRouted,
  gpusRewritten,
  gateTokens,
}: Totals): NonNullable<PolicyResult['loss']>['rewritten'] {
  const gpusPerToken = { routed: gpusRouted / gateTokens, rewritten: gpusRewritten / gateTokens };
  return { copies: rewritten, gpusPerToken };
}

function scaled({ maxOverMean, coefficientOfVariation }: Skew, by: (sum: number) => number): Skew {
  return { maxOverMean: by(maxOverMean), coefficientOfVariation: by(coefficientOfVariation) };
}

/**
 * The fastest of the exact policies that fit, anchors apart, and those that can't be told from it.
 * @param ratio mean latency of one policy over another's, with the interval of the pair
 */
export function fastestOf(
  results: readonly PolicyResult[],
  ratio: (a: number, b: number) => Speedup,
): Fastest | null {
  const candidates = [...results.keys()].filter(
    (i) => results[i].exact && results[i].oom === null && !isYardstick(results[i].policy),
  );
  if (candidates.length === 0) return null;
  const policy = candidates.reduce((best, i) =>
    results[i].stepLatency.mean < results[best].stepLatency.mean ? i : best,
  );
  const ties = candidates.filter((i) => i !== policy && ratio(i, policy).low <= 1);
  return { policy, ties };
}
