import { contiguous, LayerLoads } from '../balancing/index.js';
import { skewFrom, skewOf, type Skew } from '../metrics/index.js';
import type { LayerBatch, RoutingSource } from '../routing/index.js';
import type { PolicyRun } from './policy-run.js';

/** Sums and series of one pass over the steps of a source. */
export interface Pass {
  /** Seconds by policy, [step · layers + layer] of the steps that count. */
  latencies: Float64Array[];
  /** Seconds by policy, summed over the steps before. */
  transient: number[];
  gpuBefore: Skew;
  expertBefore: Skew;
  /** Tokens of the steps that count. */
  tokens: number;
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

/** How to go over the steps. */
export interface PassOptions {
  /** Steps before those that count. */
  warmup: number;
  seed: number | string;
  onStep: () => void;
  onLayer?: LayerObserver;
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
  };
  const position = { policy: 0, step: 0 } as LayerPosition;
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
        if (onLayer) {
          position.policy = i;
          position.step = at;
          position.batch = batch;
          onLayer(runs[i], base, seconds, position);
        }
      }
    }
    onStep();
  }
  return pass;
}

function addSkew(sum: Skew, skew: Skew): void {
  sum.maxOverMean += skew.maxOverMean;
  sum.coefficientOfVariation += skew.coefficientOfVariation;
}
