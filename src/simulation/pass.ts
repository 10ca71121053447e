import { contiguous, LayerLoads } from '../balancing/index.js';
import { skewFrom, skewOf, type Skew } from '../metrics/index.js';
import type { LayerBatch, Pruned, RoutingSource } from '../routing/index.js';
import type { PolicyRun } from './policy-run.js';
import type { Stragglers } from './stragglers.js';
import type { TrainingRun } from './training-run.js';
import type { WholeStep } from './whole-step.js';

/** Sums and series of one pass over the steps of a source. */
export interface Pass {
  /** Seconds by policy, [step · layers + layer] of the steps that count; in scope `model` and in training [step]. */
  latencies: Float64Array[];
  /** Seconds by policy, [step · layers + layer]; in scope `model` means of the layers that one stands for. */
  layerLatencies: Float64Array[];
  /** Samples of a step among `latencies`. */
  samples: number;
  /** Seconds by policy, summed over the steps before. */
  transient: number[];
  gpuBefore: Skew;
  expertBefore: Skew;
  /** What was pruned of the steps that count. */
  pruned: Pruned;
  /** Tokens of the steps that count, and how many these are. */
  tokens: number;
  steps: number;
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
  const skew: Skew = { maxOverMean: 1, coefficientOfVariation: 0 };
  const byLayer = runs.map(() => new Float64Array(counted * layers));
  const pass: Pass = {
    latencies: whole === null ? byLayer : runs.map(() => new Float64Array(counted)),
    layerLatencies: byLayer,
    samples: whole === null ? layers : 1,
    transient: runs.map(() => 0),
    gpuBefore: { maxOverMean: 0, coefficientOfVariation: 0 },
    expertBefore: { maxOverMean: 0, coefficientOfVariation: 0 },
    pruned: { copies: 0, kept: 0, gateMass: 0, keptGateMass: 0 },
    tokens: 0,
    steps: counted,
  };
  const position = { policy: 0, step: 0 } as LayerPosition;
  const afterTasks = onTasks && ((times: number) => onTasks(runs[position.policy], position, times));
  const stream = source.start();
  for (let step = stream.next(); step !== null; step = stream.next()) {
    const at = step.step - warmup;
    if (at === 0) for (const run of runs) run.startCounting();
    if (at >= 0) pass.tokens += step.tokens;
    whole?.start(step.tokensBySource);
    for (const batch of step.layers) {
      base.count(batch.counts);
      const standsFor = whole?.standsFor[batch.layer] ?? 1;
      if (at >= 0) {
        addSkew(pass.gpuBefore, skewOf(base.homeLoads, skew), standsFor);
        addSkew(
          pass.expertBefore,
          skewFrom(base.total, base.largest, base.squares, experts, skew),
          standsFor,
        );
        addPruned(pass.pruned, batch, standsFor);
      }
      const slowdown = stragglers?.of(step.step, batch.layer) ?? null;
      for (let i = 0; i < runs.length; i++) {
        position.policy = i;
        position.step = at;
        position.batch = batch;
        const seconds = runs[i].run(step, batch, base, seed, slowdown, afterTasks);
        if (at >= 0) {
          byLayer[i][at * layers + batch.layer] = seconds / standsFor;
          if (whole !== null) pass.latencies[i][at] += seconds;
        } else pass.transient[i] += seconds;
        onLayer?.(runs[i], base, seconds, position);
      }
    }
    if (whole !== null) finish(runs, pass, at, stragglers?.of(step.step, layers) ?? null, onHead);
    onStep();
  }
  return pass;
}

/** Ends a step of scope `model` for all policies. */
function finish(
  runs: readonly PolicyRun[],
  pass: Pass,
  at: number,
  slowdown: Float64Array | null,
  onHead?: HeadObserver,
): void {
  runs.forEach((run, i) => {
    const seconds = run.finishStep(slowdown, onHead && ((byGpu) => onHead(run, byGpu)));
    if (at >= 0) pass.latencies[i][at] += seconds;
    else pass.transient[i] += seconds;
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
  const skew: Skew = { maxOverMean: 1, coefficientOfVariation: 0 };
  const latencies = runs.map(() => new Float64Array(steps - warmup));
  const pass: Pass = {
    latencies,
    layerLatencies: latencies,
    samples: 1,
    transient: runs.map(() => 0),
    gpuBefore: { maxOverMean: 0, coefficientOfVariation: 0 },
    expertBefore: { maxOverMean: 0, coefficientOfVariation: 0 },
    pruned: { copies: 0, kept: 0, gateMass: 0, keptGateMass: 0 },
    tokens: 0,
    steps: steps - warmup,
  };
  const stream = source.start();
  for (let batch = 0; batch < steps * microBatches; batch++) {
    const step = stream.next()!;
    const at = Math.floor(batch / microBatches) - warmup;
    if (at === 0 && batch % microBatches === 0) for (const run of runs) run.startCounting();
    if (at >= 0) pass.tokens += step.tokens;
    for (const layer of step.layers) {
      base.count(layer.counts);
      if (at >= 0) {
        addSkew(pass.gpuBefore, skewOf(base.homeLoads, skew), 1);
        addSkew(pass.expertBefore, skewFrom(base.total, base.largest, base.squares, experts, skew), 1);
        addPruned(pass.pruned, layer, 1);
      }
      for (const run of runs) run.decide(step, layer, base, seed);
    }
    runs.forEach((run, i) => {
      const seconds = run.run();
      if (seconds === null) return;
      if (at >= 0) pass.latencies[i][at] = seconds;
      else pass.transient[i] += seconds;
      onTrainingStep?.(run, seconds);
    });
    onStep();
  }
  return pass;
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
