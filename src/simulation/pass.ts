import { contiguous, LayerLoads } from '../balancing/index.js';
import { skewFrom, skewOf, type Skew } from '../metrics/index.js';
import type { RoutingSource } from '../routing/index.js';
import type { PolicyRun } from './policy-run.js';
import type { TrainingRun } from './training-run.js';

/** Sums and series of one pass over the steps of a source. */
export interface Pass {
  /** Seconds by policy, [step · perStep + layer] of the steps that count. */
  latencies: Float64Array[];
  /** Seconds by policy, summed over the steps before. */
  transient: number[];
  gpuBefore: Skew;
  expertBefore: Skew;
  /** Tokens of the steps that count, and how many these are. */
  tokens: number;
  steps: number;
  /** Latencies per step: the layers, or one of a training step. */
  perStep: number;
}

/** How to go over the steps. */
export interface PassOptions {
  /** Steps before those that count. */
  warmup: number;
  seed: number | string;
  onStep: () => void;
  /** Called after every simulated layer. */
  onLayer?: (run: PolicyRun, base: LayerLoads, seconds: number) => void;
}

/** Takes all policies through the steps of a source: every layer of every step, one policy after another. */
export function runPass(
  runs: readonly PolicyRun[],
  source: RoutingSource,
  { warmup, seed, onStep, onLayer }: PassOptions,
): Pass {
  const layers = source.layerIds.length;
  const { gpus, experts } = source;
  const counted = source.steps - warmup;
  const base = new LayerLoads(gpus, experts, contiguous(gpus, experts, 16).home);
  const skew: Skew = { maxOverMean: 1, coefficientOfVariation: 0 };
  const pass: Pass = {
    latencies: runs.map(() => new Float64Array(counted * layers)),
    transient: runs.map(() => 0),
    gpuBefore: { maxOverMean: 0, coefficientOfVariation: 0 },
    expertBefore: { maxOverMean: 0, coefficientOfVariation: 0 },
    tokens: 0,
    steps: counted,
    perStep: layers,
  };
  const stream = source.start();
  for (let step = stream.next(); step !== null; step = stream.next()) {
    const at = step.step - warmup;
    if (at === 0) for (const run of runs) run.startCounting();
    if (at >= 0) pass.tokens += step.tokens;
    for (const batch of step.layers) {
      base.count(batch.counts);
      if (at >= 0) {
        addSkew(pass.gpuBefore, skewOf(base.homeLoads, skew));
        addSkew(pass.expertBefore, skewFrom(base.total, base.largest, base.squares, experts, skew));
      }
      for (let i = 0; i < runs.length; i++) {
        const seconds = runs[i].run(step, batch, base, seed);
        if (at >= 0) pass.latencies[i][at * layers + batch.layer] = seconds;
        else pass.transient[i] += seconds;
        onLayer?.(runs[i], base, seconds);
      }
    }
    onStep();
  }
  return pass;
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
  const pass: Pass = {
    latencies: runs.map(() => new Float64Array(steps - warmup)),
    transient: runs.map(() => 0),
    gpuBefore: { maxOverMean: 0, coefficientOfVariation: 0 },
    expertBefore: { maxOverMean: 0, coefficientOfVariation: 0 },
    tokens: 0,
    steps: steps - warmup,
    perStep: 1,
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
        addSkew(pass.gpuBefore, skewOf(base.homeLoads, skew));
        addSkew(pass.expertBefore, skewFrom(base.total, base.largest, base.squares, experts, skew));
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

function addSkew(sum: Skew, skew: Skew): void {
  sum.maxOverMean += skew.maxOverMean;
  sum.coefficientOfVariation += skew.coefficientOfVariation;
}
