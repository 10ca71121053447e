import { contiguous, LayerLoads } from '../balancing/index.js';
import { skewFrom, skewOf, type Skew } from '../metrics/index.js';
import type { LayerBatch, Pruned, RoutingSource } from '../routing/index.js';
import type { PolicyRun } from './policy-run.js';
import type { Stragglers } from './stragglers.js';
import type { TrainingRun } from './training-run.js';
import type { WholeStep } from './whole-step.js';

/** Sums over the steps of a source that count, whatever the policies. */
export interface RoutingSums {
  /** Latencies of a step: one per layer; in scope `model` and in training one. */
  samples: number;
  gpuBefore: Skew;
  expertBefore: Skew;
  /** What was pruned of the steps that count. */
  pruned: Pruned;
  /** Tokens of the steps that count, and how many these are. */
  tokens: number;
  steps: number;
  /** Tokens in the fullest KV cache, in scope `model`; else 0. */
  heldTokens: number;
}

/** Seconds of one policy in one pass over the steps of a source. */
export interface PolicySeries {
  /** [step · layers + layer] of the steps that count; in scope `model` and in training [step]. */
  latencies: Float64Array;
  /** [step · layers + layer]; in scope `model` means of the layers that one stands for. */
  layerLatencies: Float64Array;
  /** Sum over the steps before. */
  transient: number;
}

/** One pass over the steps of a source. */
export interface Pass {
  sums: RoutingSums;
  /** By run. */
  series: PolicySeries[];
}

/** Which layer was simulated. Reused from layer to layer. */
export interface LayerPosition {
  /** Index of the policy. */
  policy: number;
  /** Among the steps that count; negative in those before. */
  step: number;
  batch: LayerBatch;
}

/** Looks at every layer right after it was simulated: its plan, work, tasks and seconds. */
export type LayerObserver = (run: PolicyRun, base: LayerLoads, seconds: number, at: LayerPosition) => void;

/** Looks at the tasks of a layer right after they ran, which count as those of so many layers of the model. */
export type TaskObserver = (run: PolicyRun, at: LayerPosition, layers: number) => void;

/** Looks at the head after the last layer of a step of scope `model`: its seconds by GPU. */
export type HeadObserver = (run: PolicyRun, seconds: Float64Array) => void;

/** How to go over the steps. */
export interface PassOptions {
  /** Steps before those that count. */
  warmup: number;
  seed: number | string;
  /** What stands between the MoE layers; null in scope `layer`. */
  whole: WholeStep | null;
  /** null where all GPUs run as the profile says. */
  stragglers: Stragglers | null;
  /** GPU of every expert without a policy's doing. */
  home: Int32Array;
  onStep: () => void;
  onLayer?: LayerObserver;
  onTasks?: TaskObserver;
  onHead?: HeadObserver;
}

/** Takes all policies through the steps of a source: every layer of every step, one policy after another. */
export function runPass(
  runs: readonly PolicyRun[],
  source: RoutingSource,
  { warmup, seed, whole, stragglers, home, onStep, onLayer, onTasks, onHead }: PassOptions,
): Pass {
  const layers = source.layerIds.length;
  const { gpus, experts } = source;
  const counted = source.steps - warmup;
  const base = new LayerLoads(gpus, experts, home);
  const series = runs.map((): PolicySeries => {
    const byLayer = new Float64Array(counted * layers);
    return {
      latencies: whole === null ? byLayer : new Float64Array(counted),
      layerLatencies: byLayer,
      transient: 0,
    };
  });
  const sums = noSums(whole === null ? layers : 1, counted);
  const position = { policy: 0, step: 0 } as LayerPosition;
  let running: PolicyRun;
  const afterTasks = onTasks && ((times: number) => onTasks(running, position, times));
  const stream = source.start();
  for (let step = stream.next(); step !== null; step = stream.next()) {
    const at = step.step - warmup;
    if (at === 0) for (const run of runs) run.startCounting();
    if (at >= 0) sums.tokens += step.tokens;
    whole?.start(step.tokensBySource);
    for (const batch of step.layers) {
      base.count(batch.counts);
      const standsFor = whole?.standsFor[batch.layer] ?? 1;
      if (at >= 0) addBatch(sums, base, batch, standsFor);
      const slowdown = stragglers?.of(step.step, batch.layer) ?? null;
      for (let i = 0; i < runs.length; i++) {
        running = runs[i];
        position.policy = running.index;
        position.step = at;
        position.batch = batch;
        const seconds = running.run(step, batch, base, seed, slowdown, afterTasks);
        const { latencies, layerLatencies } = series[i];
        if (at >= 0) {
          layerLatencies[at * layers + batch.layer] = seconds / standsFor;
          if (whole !== null) latencies[at] += seconds;
        } else series[i].transient += seconds;
        onLayer?.(running, base, seconds, position);
      }
    }
    if (whole !== null) finish(runs, series, at, stragglers?.of(step.step, layers) ?? null, onHead);
    onStep();
  }
  sums.heldTokens = whole?.heldTokens ?? 0;
  return { sums, series };
}

/** Ends a step of scope `model` for all policies. */
function finish(
  runs: readonly PolicyRun[],
  series: readonly PolicySeries[],
  at: number,
  slowdown: Float64Array | null,
  onHead?: HeadObserver,
): void {
  runs.forEach((run, i) => {
    const seconds = run.finishStep(slowdown, onHead && ((byGpu) => onHead(run, byGpu)));
    if (at >= 0) series[i].latencies[at] += seconds;
    else series[i].transient += seconds;
  });
}

/** How to go over the steps of a training. */
export interface TrainingPassOptions {
  /** Training steps before those that count. */
  warmup: number;
  /** Batches of the source that make a training step; what is left over at the end is not used. */
  microBatches: number;
  seed: number | string;
  /** Called after every batch. */
  onStep: () => void;
  /** Called after every training step of a policy. */
  onTrainingStep?: (run: TrainingRun, seconds: number) => void;
}

/** Takes all policies through training steps: every layer of a micro-batch is decided, then it runs. */
export function runTrainingPass(
  runs: readonly TrainingRun[],
  source: RoutingSource,
  { warmup, microBatches, seed, onStep, onTrainingStep }: TrainingPassOptions,
): Pass {
  const { gpus, experts } = source;
  const steps = Math.floor(source.steps / microBatches);
  const base = new LayerLoads(gpus, experts, contiguous(gpus, experts, 16).home);
  const series = runs.map((): PolicySeries => {
    const latencies = new Float64Array(steps - warmup);
    return { latencies, layerLatencies: latencies, transient: 0 };
  });
  const sums = noSums(1, steps - warmup);
  const stream = source.start();
  for (let batch = 0; batch < steps * microBatches; batch++) {
    const step = stream.next()!;
    const at = Math.floor(batch / microBatches) - warmup;
    if (at === 0 && batch % microBatches === 0) for (const run of runs) run.startCounting();
    if (at >= 0) sums.tokens += step.tokens;
    for (const layer of step.layers) {
      base.count(layer.counts);
      if (at >= 0) addBatch(sums, base, layer, 1);
      for (const run of runs) run.decide(step, layer, base, seed);
    }
    runs.forEach((run, i) => {
      const seconds = run.run();
      if (seconds === null) return;
      if (at >= 0) series[i].latencies[at] = seconds;
      else series[i].transient += seconds;
      onTrainingStep?.(run, seconds);
    });
    onStep();
  }
  return { sums, series };
}

function noSums(samples: number, steps: number): RoutingSums {
  return {
    samples,
    gpuBefore: { maxOverMean: 0, coefficientOfVariation: 0 },
    expertBefore: { maxOverMean: 0, coefficientOfVariation: 0 },
    pruned: { copies: 0, kept: 0, gateMass: 0, keptGateMass: 0 },
    tokens: 0,
    steps,
    heldTokens: 0,
  };
}

const skew: Skew = { maxOverMean: 1, coefficientOfVariation: 0 };

/** @param layers how many layers of the model this one counts as */
function addBatch(sums: RoutingSums, base: LayerLoads, batch: LayerBatch, layers: number): void {
  addSkew(sums.gpuBefore, skewOf(base.homeLoads, skew), layers);
  addSkew(sums.expertBefore, skewFrom(base.total, base.largest, base.squares, base.experts, skew), layers);
  addPruned(sums.pruned, batch, layers);
}

function addPruned(sum: Pruned, { pruned }: LayerBatch, layers: number): void {
  if (!pruned) return;
  sum.copies += layers * pruned.copies;
  sum.kept += layers * pruned.kept;
  sum.gateMass += layers * pruned.gateMass;
  sum.keptGateMass += layers * pruned.keptGateMass;
}

function addSkew(sum: Skew, skew: Skew, layers: number): void {
  sum.maxOverMean += layers * skew.maxOverMean;
  sum.coefficientOfVariation += layers * skew.coefficientOfVariation;
}
