import { policyLabel, type PolicyOptions } from '../balancing/index.js';
import type { Runtime } from '../execution/index.js';
import type { RoutingSource } from '../routing/index.js';
import { partsOf } from '../scenario/index.js';
import { outOfMemoryOf, peakMemoryOf } from './memory-summary.js';
import { modelMemoryOf } from './model-memory.js';
import { runPass, runTrainingPass, type Pass } from './pass.js';
import type { PolicyFigures } from './policy-figures.js';
import { PolicyRun } from './policy-run.js';
import type { PolicySettings } from './policy-settings.js';
import { RefusalError } from './refusal-error.js';
import { replicateMeans } from './replicates.js';
import type { SimulationSpec } from './simulation-spec.js';
import { Stragglers } from './stragglers.js';
import { TrainingRun } from './training-run.js';
import type { WholeStep } from './whole-step.js';

/** What the runs of a simulation share. */
export interface SharedByRuns {
  runtime: Runtime;
  settings: PolicySettings;
  /** null in scope `layer`. */
  whole: WholeStep | null;
  /** Steps before those that count. */
  warmup: number;
  /** Replicates over other sequences; up to 1: none. */
  replicates: number;
  onStep: () => void;
}

/**
 * Takes policies through the steps of a source, each on its own machine.
 * @param chosen indices of those that run
 * @returns what each of them leaves
 * @throws RefusalError where a policy can't work with this model, cluster or routing
 */
export function runPolicies(
  spec: SimulationSpec,
  shared: SharedByRuns,
  chosen: readonly number[],
): PolicyFigures[] {
  const { machine, seed, training } = spec;
  const { runtime, settings, whole, warmup, onStep } = shared;
  const stragglers = Stragglers.of(machine, seed);
  const labels: (() => string | null)[] = [];
  const settingOf = () => {
    const { setting, calibration } = settings.ofOne();
    labels.push(calibration);
    return setting;
  };
  const runs = <Run>(make: (options: PolicyOptions, index: number) => Run) =>
    chosen.map((index) => {
      const { options } = spec.policies[index];
      return inPolicy(options, index, () => make(options, index));
    });
  const figures = training
    ? figuresOf(
        spec,
        shared,
        runs(
          (options, index) =>
            new TrainingRun({ options, index, machine, runtime, setting: settingOf(), training }),
        ),
        (again, steps, once) =>
          runTrainingPass(again, steps, {
            warmup,
            microBatches: training.microBatches,
            seed,
            onStep,
            onTrainingStep: once ? spec.onTrainingStep : undefined,
          }),
      )
    : figuresOf(
        spec,
        shared,
        runs((options, index) => new PolicyRun(options, index, machine, runtime, settingOf(), whole)),
        (again, steps, once) =>
          runPass(again, steps, {
            warmup,
            seed,
            whole,
            stragglers,
            home: settings.setting.placement.home,
            onStep,
            onLayer: once ? spec.onLayer : undefined,
            onTasks: once ? spec.onTasks : undefined,
            onHead: once ? spec.onHead : undefined,
          }),
      );
  return figures.map((own, i) => ({ ...own, calibration: labels[i]() }));
}

/** @param goOver takes runs through the steps of a source, either of the spec, once, or of a replicate */
function figuresOf<Run extends PolicyRun | TrainingRun>(
  { source, seed }: SimulationSpec,
  { runtime, whole, replicates }: SharedByRuns,
  runs: readonly Run[],
  goOver: (runs: readonly Run[], source: RoutingSource, once: boolean) => Pass,
): Omit<PolicyFigures, 'calibration'>[] {
  const { sums, series } = goOver(runs, source, true);
  const figures = runs.map((run, i) => ({
    sums,
    series: series[i],
    counted: {
      ...run.summary(),
      peakMemory: peakMemoryOf(run),
      oom: outOfMemoryOf(run),
      memory:
        run.memory &&
        modelMemoryOf(
          run.memory,
          runtime.buffers,
          run.capacity,
          whole!.windowBytes,
          whole!.cacheBytesPerToken,
        ),
    },
    exposure: run.exposure,
  }));
  // One replicate says nothing of how far others would lie.
  const means =
    replicates > 1
      ? replicateMeans(runs, source, replicates, seed, (again, drawn) => goOver(again, drawn, false))
      : null;
  return figures.map((own, i) => ({ ...own, replicateMeans: means && means[i] }));
}

/** Says of which policy a refusal is. */
function inPolicy<T>(options: PolicyOptions, index: number, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const { path, found, allowed } = partsOf(error.message, policyLabel(options));
    throw new RefusalError(path === '' ? `policies[${index}]` : `policies[${index}].${path}`, found, allowed);
  }
}
