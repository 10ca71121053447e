import {
  LayerLoads,
  policyLabel,
  policyOf,
  slotsByGpu,
  traitsOf,
  type PlacementMap,
  type PolicyOptions,
} from '../balancing/index.js';
import { createRuntime, type Contexts, type Runtime } from '../execution/index.js';
import { floorOfSkew, variesBetweenSteps } from '../metrics/index.js';
import type { Pruned, RoutingSource } from '../routing/index.js';
import { checkTraining } from './check-training.js';
import { ClockErrors } from './clock-errors.js';
import { Intervals } from './intervals.js';
import type { PolicyFigures } from './policy-figures.js';
import { fastestOf, policyResult } from './policy-result.js';
import { policySettings } from './policy-settings.js';
import { RefusalError } from './refusal-error.js';
import { affordableReplicates, Sampling } from './replicates.js';
import type { Fastest, PolicyResult, RoutingSummary } from './result.js';
import { runPolicies, type SharedByRuns } from './run-policies.js';
import type { SimulationSpec } from './simulation-spec.js';
import { WholeStep } from './whole-step.js';

export interface SimulationResult {
  routing: RoutingSummary;
  policies: PolicyResult[];
  fastest: Fastest | null;
  /** Seconds by policy, [step · layers + layer] of the steps that count; in scope `model` and in training [step]. */
  latencies: Float64Array[];
}

/**
 * Looks for what can be known to be impossible before anything runs.
 * @throws RefusalError where a policy can't work with this model, cluster or routing
 */
export function checkPolicies(
  spec: Pick<
    SimulationSpec,
    'source' | 'policies' | 'machine' | 'seed' | 'warmup' | 'placementMaps' | 'sensitivities' | 'solver'
  > &
    Partial<Pick<SimulationSpec, 'runtime' | 'training' | 'standard'>>,
): void {
  const { setting } = policySettings(spec);
  spec.policies.forEach(({ options }, i) => {
    const refusal = policyOf(options).refusal(options, setting);
    if (refusal === null) return;
    throw new RefusalError(`policies[${i}].${refusal.option}`, refusal.found, refusal.allowed);
  });
  if (spec.training && spec.runtime) {
    checkTraining({ ...spec, training: spec.training, runtime: spec.runtime });
  }
  warmupOf(spec);
}

/**
 * Runs all policies over the same steps, each on its own machine, and compares them.
 * @throws RefusalError where a policy can't work with this model, cluster or routing
 */
export function simulate(spec: SimulationSpec): SimulationResult {
  const { source, machine, policies } = spec;
  const runtime = createRuntime(spec.runtime, machine);
  const settings = policySettings(spec);
  checkPolicies(spec);
  const contexts = spec.contexts ?? null;
  const whole = contexts === null ? null : new WholeStep(machine, runtime, contexts, source.layerIds.length);
  const warmup = warmupOf(spec);
  const replicates = source.resample
    ? (spec.resamples ??
      affordableReplicates(
        source,
        policies.map(({ options }) => options),
      ))
    : 0;
  const onStep = progressOf(spec, replicates > 1 ? replicates : 0);
  const figures = allFigures(spec, { runtime, settings, whole, warmup, replicates, onStep });

  const ep = policies.findIndex(({ options }) => options.kind === 'ep');
  const { sums } = figures[ep];
  const series = figures.map(({ series: { latencies } }) => latencies);
  const replicated = figures.flatMap(({ replicateMeans }) =>
    replicateMeans === null ? [] : [replicateMeans],
  );
  const comparison = {
    source,
    warmup,
    machine,
    contexts,
    bytesPerToken: whole?.cacheBytesPerToken ?? 0,
    heldTokens: sums.heldTokens,
    epMemory: figures[ep].counted.memory,
    floors: skewFloors(source),
    intervals: new Intervals(
      new Sampling(series, sums.samples, replicated.length === 0 ? null : replicated),
      new ClockErrors(machine, runtime),
      figures.map(({ exposure }) => exposure),
    ),
    ep,
  };
  const varying = series.map((latencies) => variesBetweenSteps(latencies, sums.samples));
  const results = policies.map((policy, i) => policyResult(policy, i, figures[i], comparison));
  return {
    latencies: series,
    policies: results,
    fastest: fastestOf(results, (a, b) => comparison.intervals.ratio(a, b)),
    routing: {
      steps: sums.steps,
      layers: [...source.layerIds],
      tokensPerGpu: source.tokensPerGpu,
      calibration: figures.find(({ calibration }) => calibration !== null)?.calibration ?? null,
      interval: intervalLabel(replicates, sums.steps, varying, ep),
      varies: varying[ep],
      ...prunedShares(sums.pruned),
      notes: [
        ...new Set([
          ...source.notes,
          ...prunedNotes(sums.pruned),
          ...(whole === null ? [] : wholeNotes(whole, runtime, source, contexts!)),
          ...policies.flatMap(({ options }) => policyOf(options).notes(options, settings.setting)),
          ...policies.flatMap(({ options }) => runtime.notes(traitsOf(options), source)),
        ]),
      ],
    },
  };
}

/** What the policies leave: those whose runs are kept do not run again. */
function allFigures(spec: SimulationSpec, shared: SharedByRuns): PolicyFigures[] {
  const { policies, source } = spec;
  const all = [...policies.keys()];
  const kept = usableRuns(spec);
  if (kept === null) return runPolicies(spec, shared, all);
  const { watcher } = kept;
  const runs = kept.runs.of(source, [kept.scenario, shared.warmup, shared.replicates], watcher);
  const found = policies.map(({ options }, i) => runs.find(i, options));
  const run = (chosen: readonly number[]): PolicyFigures[] => {
    const figures = chosen.length === 0 ? [] : runPolicies(spec, shared, chosen);
    figures.forEach((own, at) => runs.keep(chosen[at], policies[chosen[at]].options, own));
    return all.map((i) => figures[chosen.indexOf(i)] ?? found[i]);
  };
  const missing = all.filter((i) => found[i] === null);
  const figures = run(missing);
  if (!watcher || missing.length === all.length || watcher.isWhole()) return figures;
  watcher.forget();
  return run(all);
}

/** null where somebody looks who would miss policies that do not run. */
function usableRuns({ kept, onLayer, onHead, onTasks, onTrainingStep }: SimulationSpec) {
  if (!kept || onTasks || onTrainingStep) return null;
  return kept.watcher || !(onLayer || onHead) ? kept : null;
}

/**
 * Which experts a policy's slots hold in the first step, layer by layer.
 * @throws RefusalError where the policy can't work with this model, cluster or routing
 */
export function firstPlacements(
  spec: Pick<SimulationSpec, 'source' | 'machine' | 'seed' | 'placementMaps' | 'sensitivities' | 'solver'>,
  options: PolicyOptions,
): PlacementMap {
  checkPolicies({ ...spec, policies: [{ options, anchor: false }], warmup: 0 });
  const { setting } = policySettings(spec);
  const { source, seed } = spec;
  const policy = policyOf(options);
  const { step, tokensBySource, layers } = source.start().next()!;
  const base = new LayerLoads(source.gpus, source.experts, setting.placement.home);
  let state = policy.start(options, setting);
  const placed = layers.map(({ layer, counts, tokens }) => {
    const { loads } = base.count(counts);
    const decided = policy.decide(state, { step, layer, counts, loads, tokensBySource, tokens, seed });
    state = decided.state;
    return { layer: setting.layerNumbers![layer], slots: slotsByGpu(decided.plan.placement) };
  });
  const { denseLayers, moeLayers } = spec.machine.shape;
  return { experts: source.experts, layers: placed, model: { denseLayers, moeLayers } };
}

/** What scope `model` takes as given. */
function wholeNotes(
  whole: WholeStep,
  { attentionTensorParallel: shared = 1 }: Runtime,
  { layerIds }: RoutingSource,
  { phase }: Contexts,
): string[] {
  const most = Math.max(...whole.standsFor);
  return [
    'scope model: attention, dense layers, shared experts and head by shares of the datasheet, each GPU for its own ' +
      'tokens; no scheduler, no speculation, layers in turn',
    ...(shared > 1
      ? [
          `${shared} GPUs share the tokens of their group, and divide these parts of the model; of the sums over a ` +
            'group, those after attention in MoE layers are simulated, those of dense layers and of the head are not',
        ]
      : []),
    ...(phase === 'decode' ? ['decode: the sequences of a GPU are all of the same length'] : []),
    ...(most > 1
      ? [
          `the routing has ${layerIds.length} layers: each stands for up to ${most} of the model's ` +
            `${whole.standsFor.reduce((sum, layers) => sum + layers, 0)} MoE layers in a row`,
        ]
      : []),
  ];
}

/** Steps before those that count; in training, training steps. */
function warmupOf({
  warmup,
  policies,
  source,
  training,
}: Pick<SimulationSpec, 'warmup' | 'policies' | 'source' | 'training'>): number {
  const batches = training?.microBatches ?? 1;
  const all = Math.floor(source.steps / batches);
  if (warmup !== null) {
    if (warmup < all) return warmup;
    throw new RefusalError(
      'workload.warmupSteps',
      `${warmup} of ${all} steps`,
      `at most ${all - 1} (warmupSteps: ${all - 1}, or more workload.steps)`,
    );
  }
  const steps = policies.map(({ options }) => Math.ceil(policyOf(options).warmup(options) / batches));
  const most = Math.max(...steps);
  if (most < all) return most;
  throw new RefusalError(
    'workload.steps',
    `${all}, all of which warm ${policyLabel(policies[steps.indexOf(most)].options)} up`,
    `more than ${most} (steps: ${2 * most}), or a smaller workload.warmupSteps`,
  );
}

function progressOf({ source, onStep }: SimulationSpec, replicates: number): () => void {
  const total = source.steps * (1 + replicates);
  let done = 0;
  return () => onStep?.(++done, total);
}

function skewFloors({ gpus, experts, topK, tokensPerGpu }: RoutingSource): { gpu: number; expert: number } {
  const tokens = gpus * tokensPerGpu;
  return {
    gpu: floorOfSkew(tokens, topK, experts, gpus),
    expert: floorOfSkew(tokens, topK, experts, experts),
  };
}

function prunedShares({ copies, kept, gateMass, keptGateMass }: Pruned): Pick<RoutingSummary, 'pruned'> {
  if (copies === 0) return {};
  return { pruned: { keptCopies: kept / copies, keptGateMass: gateMass > 0 ? keptGateMass / gateMass : 1 } };
}

function prunedNotes(sums: Pruned): string[] {
  const { pruned } = prunedShares(sums);
  if (!pruned) return [];
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  return [
    `pruning: ${percent(1 - pruned.keptCopies)} of the copies are skipped for all policies, ` +
      `${percent(pruned.keptGateMass)} of the gate weights are left; exact policies are so for the pruned routing`,
  ];
}

/** What makes the intervals. @param varying by policy, whether its steps differ */
function intervalLabel(replicates: number, steps: number, varying: readonly boolean[], ep: number): string {
  const clock = '90 %: errors of the clock';
  if (replicates > 1) return `${clock}, and ${replicates} replicates over sequences drawn with replacement`;
  if (steps === 1) return `${clock}; one step says nothing of others`;
  if (!varying.some(Boolean)) return `${clock}; the ${steps} steps do not vary`;
  const paired = `${clock}, and paired log-ratio over effective steps`;
  return varying[ep] ? paired : `${paired}, which differ only by what policies draw`;
}
