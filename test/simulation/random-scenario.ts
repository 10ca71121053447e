import fc from 'fast-check';
import { runtimes } from '../../src/execution/index.js';
import {
  contiguous,
  dispatchRules,
  movementRules,
  policies,
  policyOf,
  traitsOf,
  type PolicyOptions,
} from '../../src/balancing/index.js';
import { sharedRules } from '../../src/balancing/dispatch/shared-experts.js';
import { openScenario } from '../../src/run.js';
import type { ScenarioInput } from '../../src/scenario/index.js';
import { simulate, type SimulationSpec } from '../../src/simulation/index.js';

type PolicyChoice = Exclude<ScenarioInput['policies'][number], string>;

/** Histories, placements and so on by name, each with options that matter in small scenarios. */
const placements: fc.Arbitrary<object | string> = fc.oneof(
  fc.constantFrom(
    'contiguous',
    'round-robin',
    'tensorrt-llm',
    'ascend-default',
    'ascend-swift',
    'flashlb',
    'balance-bytes',
  ),
  fc.record({ kind: fc.constant('locality'), within: fc.constantFrom('node', 'gpu') }),
  fc.record({ kind: fc.constantFrom('contiguous', 'round-robin'), slots: fc.integer({ min: 4, max: 40 }) }),
  fc.record({
    kind: fc.constant('eplb'),
    groups: fc.constantFrom(1, 2, 4),
    avoidDuplicates: fc.boolean(),
    reorderOnly: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('eplb-steps'), groups: fc.constantFrom(1, 2) }),
  fc.record({
    kind: fc.constant('flashlb'),
    tiers: fc.constantFrom(1, 3),
    updateBelow: fc.constantFrom(null, 1),
  }),
  fc.record({ kind: fc.constant('ascend-swift'), skipBelow: fc.constant(1), adoptBelow: fc.constant(1) }),
  fc.record({
    kind: fc.constant('spare-replicas'),
    spareSlots: fc.constantFrom(1, 2),
    arrivals: fc.constantFrom(null, 1),
  }),
);

const dispatches = fc.constantFrom(...dispatchRules.map(({ kind }) => kind));

const schedules = fc.record({
  interval: fc.integer({ min: 1, max: 4 }),
  first: fc.constantFrom(null, 1),
  staleness: fc.constantFrom(0, 1),
  skipAbove: fc.constantFrom(null, 0.9),
});

const histories: fc.Arbitrary<object | string> = fc.oneof(
  fc.constantFrom('calibration', 'oracle', 'predicted'),
  fc.record({
    kind: fc.constant('predicted'),
    error: fc.constantFrom(0, 0.5, 1),
    interval: fc.constantFrom(1, 2),
  }),
  schedules.map((schedule) => ({ kind: 'window', steps: 2, ...schedule })),
  schedules.map((schedule) => ({ kind: 'decay', factor: 0.5, ...schedule })),
);

const movements: fc.Arbitrary<object | string | null> = fc.oneof(
  fc.constantFrom(null, ...movementRules.map(({ kind }) => kind)),
  fc.record({
    kind: fc.constantFrom('blocking', 'prefetch'),
    from: fc.constantFrom('gpus', 'host'),
    alignSlots: fc.boolean(),
  }),
  fc.record({
    kind: fc.constantFrom('chunked', 'async'),
    layersPerStep: fc.constantFrom(1, 2),
    from: fc.constantFrom('gpus', 'host'),
  }),
);

/** An engine's preset plans from more steps than a small scenario has, unless it is told otherwise. */
const engineOptions = fc.record({ history: histories, movement: movements, dispatch: dispatches });

/** Options of every policy that are worth trying in small scenarios. */
const optionsOf: Record<PolicyOptions['kind'], fc.Arbitrary<object>> = {
  ep: fc.constant({}),
  balanced: fc.constant({}),
  llep: fc.record({
    alpha: fc.constantFrom(1, 1.1, 1.5),
    minTokensPerGemm: fc.constantFrom(1, 4, 32, 1024),
    imbalanceThreshold: fc.constantFrom(0, 1.1, 1.3, 2),
    helpers: fc.constantFrom('any', 'intra-node'),
    variant: fc.constantFrom('code', 'paper'),
  }),
  'replicate-quantize': fc.record({
    replicas: fc.nat(3),
    bits: fc.constantFrom(4, 8),
    split: fc.constantFrom('random', 'even', 'least-loaded'),
    replanEvery: fc.constantFrom(null, 2),
  }),
  capacity: fc.record({
    factor: fc.constantFrom(null, 0.5, 1, 1.25),
    budget: fc.constantFrom('expert-per-source-gpu', 'expert', 'gpu'),
    order: fc.constantFrom('position', 'random', 'score'),
  }),
  laser: fc.record({
    candidates: fc.constantFrom(1, 4, 12),
    peaked: fc.constantFrom(0, 0.6, 2),
    cutoff: fc.constantFrom(0, 0.3),
    loads: fc.constantFrom('expert', 'gpu'),
    staleness: fc.constantFrom(0, 5),
    memory: fc.constantFrom('step', 'run'),
  }),
  'round-robin': fc.record({ dispatch: dispatches }),
  eplb: fc.record({
    placement: placements,
    dispatch: dispatches,
    history: histories,
    movement: movements,
    sharedExperts: fc.constantFrom(...sharedRules),
  }),
  combination: fc.record({
    placement: placements,
    dispatch: dispatches,
    history: histories,
    movement: movements,
    sharedExperts: fc.constantFrom(...sharedRules),
  }),
  probe: fc.record({ history: histories, movement: movements }, { requiredKeys: [] }),
  ultraep: fc.record({
    minTokensPerReplica: fc.constantFrom(1, 16),
    spareSlots: fc.constantFrom(1, 2),
    threshold: fc.constantFrom(1, 1.1),
    keepOne: fc.boolean(),
  }),
  harmoeny: fc.record({ minTokens: fc.constantFrom(1, 4) }),
  'fastermoe-shadow': fc.record({ breakEvenTokens: fc.constantFrom(1, 2) }),
  feplb: fc.record({ dynamicExperts: fc.constantFrom(1, 2, 4) }),
  moonep: fc.record({ spareSlots: fc.constantFrom(null, 1, 2) }),
  vllm: engineOptions,
  sglang: engineOptions,
  'tensorrt-llm': engineOptions,
  'vllm-ascend': engineOptions,
  megatron: fc.constant({}),
};

/** A policy with random options. */
export function randomOptions(kind: PolicyOptions['kind']): fc.Arbitrary<PolicyChoice> {
  return optionsOf[kind].map((options) => ({ kind, ...options }));
}

const policyArbitrary = fc.oneof(...policies.map(({ kind }) => randomOptions(kind as PolicyOptions['kind'])));

const routingArbitrary = fc
  .tuple(
    fc.constantFrom(
      { kind: 'balanced' as const },
      { kind: 'hot-experts' as const, share: 0.7, experts: 2 },
      { kind: 'hot-experts' as const, share: 0.6, experts: 2, pattern: 'distinct' as const },
      { kind: 'zipf' as const, exponent: 1.2 },
      { kind: 'log-normal' as const, sigma: 1.5, redraw: 'run' as const },
      { kind: 'power-law' as const, exponent: 1.2 },
      { kind: 'dirichlet' as const, concentration: 0.3 },
      { kind: 'domains' as const, domains: 2, period: 1 },
      { kind: 'source-topics' as const, gpusPerTopic: 1, sigma: 1, homeShare: 0.5 },
      { kind: 'workload' as const, name: 'W4' as const },
      { kind: 'workload' as const, name: 'W6' as const, period: 1 },
      { kind: 'gate' as const, spread: 0.5, gateWeights: true as const },
      { kind: 'gate' as const, popularity: 1, gateWeights: true as const },
    ),
    fc.boolean(),
  )
  .map(([kind, gateWeights]) => (kind.kind === 'gate' ? kind : { ...kind, gateWeights }));

/** Every runtime, with options that change what it launches: all of them are rivals behind the same tests. */
export const runtimeArbitrary: fc.Arbitrary<ScenarioInput['runtime']> = fc.oneof(
  fc.constantFrom(...runtimes.map(({ name }) => name)),
  fc.record({
    preset: fc.constant('allgather-reducescatter' as const),
    host: fc.constantFrom('graph' as const, 'eager' as const),
    planner: fc.constantFrom('published' as const, 'host' as const, 'gpu' as const),
    dispatchDtype: fc.constantFrom('bf16' as const, 'activation' as const),
    maxTokensPerWave: fc.constantFrom(undefined, 100),
    expertTensorParallel: fc.constantFrom(1, 2),
    attentionTensorParallel: fc.constantFrom(1, 2),
  }),
  fc.record({
    preset: fc.constant('deepep-normal' as const),
    layout: fc.constantFrom('contiguous' as const, 'fused' as const, 'loop' as const),
    attentionTensorParallel: fc.constantFrom(1, 2),
    planner: fc.constantFrom('published' as const, 'host' as const, 'gpu' as const),
    overlap: fc.constantFrom('none' as const, 'shared-expert' as const, 'two-batch' as const),
    maxTokensPerWave: fc.constantFrom(undefined, 100),
  }),
  fc
    .record({
      preset: fc.constant('groupwise-alltoall' as const),
      shared: fc.constantFrom(1, 2),
      groupWise: fc.boolean(),
      overlap: fc.constantFrom('none' as const, 'two-batch' as const),
    })
    .map(({ shared, ...chosen }) => ({
      ...chosen,
      expertTensorParallel: shared,
      attentionTensorParallel: shared,
    })),
  fc.record({
    preset: fc.constant('deepep-low-latency' as const),
    maxTokensPerGpu: fc.constantFrom(200, 512),
    overlap: fc.constantFrom('none' as const, 'shared-expert' as const, 'two-batch' as const),
  }),
);

/** What of a small scenario decides which policies it can run. */
export interface SmallScenario {
  model: {
    experts: number;
    topK: number;
    moeLayers: number;
    weightDtype: 'bf16' | 'fp8';
    sharedExperts?: number;
  };
  cluster: { gpus: number; gpusPerNode: number };
  workload: {
    tokensPerGpu: number;
    steps: number;
    layer: number | 'all';
    routing: { kind?: string; tokens?: boolean; gateWeights: boolean };
  };
}

/** A runtime whose groups of GPUs fit into nodes. */
export function withinNodes(
  runtime: ScenarioInput['runtime'],
  gpusPerNode: number,
): ScenarioInput['runtime'] {
  if (typeof runtime === 'string' || gpusPerNode % 2 === 0) return runtime;
  const {
    attentionTensorParallel: _,
    expertTensorParallel: __,
    ...options
  } = runtime as Record<string, unknown>;
  return options;
}

/** Nothing, or now and then what is given. */
function seldom<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> {
  return fc.oneof({ weight: 3, arbitrary: fc.constant(null) }, { weight: 1, arbitrary });
}

/** Small scenarios of every kind that can run. */
export const scenarioArbitrary: fc.Arbitrary<ScenarioInput> = fc
  .record({
    size: fc.constantFrom<[number, number, number][]>(
      [1, 1, 4],
      [2, 2, 4],
      [4, 2, 8],
      [4, 4, 16],
      [8, 4, 16],
      [3, 3, 8],
      [6, 2, 4],
    ),
    topK: fc.integer({ min: 1, max: 3 }),
    weightDtype: fc.constantFrom('bf16' as const, 'fp8' as const),
    fabric: fc.constantFrom('ports' as const, 'max-min' as const),
    runtime: runtimeArbitrary,
    sharedExperts: fc.constantFrom(0, 1),
    tokensPerGpu: fc.constantFrom(1, 7, 64, 500),
    steps: fc.integer({ min: 3, max: 5 }),
    routing: routingArbitrary,
    policies: fc.array(policyArbitrary, { minLength: 1, maxLength: 4 }),
    layer: fc.constantFrom(0, 'all' as const),
    whole: fc.constantFrom(null, null, null, null, 'prefill' as const, 'decode' as const),
    stragglers: fc.boolean(),
    mla: fc.boolean(),
    bits: seldom(fc.array(fc.constantFrom(1, 2, 4), { minLength: 16, maxLength: 16 })),
    pruning: seldom(
      fc.constantFrom(
        { kind: 'ratio' as const, below: 0.4 },
        { kind: 'ratio' as const },
        { kind: 'keep-share' as const, share: 0.8 },
        { kind: 'threshold' as const, least: 0.2 },
      ),
    ),
    seed: fc.nat(1000),
  })
  .map(
    ({
      size: [gpus, gpusPerNode, experts],
      topK,
      weightDtype,
      fabric,
      routing,
      policies: chosen,
      tokensPerGpu,
      steps,
      layer,
      runtime,
      sharedExperts,
      seed,
      whole,
      stragglers,
      mla,
      bits,
      pruning,
    }) => {
      const small = {
        model: {
          hiddenSize: 512,
          expertHiddenSize: 256,
          experts,
          topK,
          moeLayers: 2,
          weightDtype,
          ...(whole === null ? {} : wholeShape(mla)),
          sharedExperts,
        },
        cluster: {
          gpu: 'h100' as const,
          gpus,
          gpusPerNode,
          fabric,
          ...(stragglers
            ? { jitter: 0.3, speed: Array.from({ length: gpus }, (_, gpu) => 1 - 0.05 * gpu) }
            : {}),
        },
        workload: {
          phase: whole ?? ('prefill' as const),
          tokensPerGpu,
          steps,
          routing,
          // One expert per token is all there is to keep.
          ...(pruning !== null && routing.gateWeights && topK > 1 ? { pruning } : {}),
          layer,
          ...(whole === 'decode' ? { kvTokens: { mean: 1000 * tokensPerGpu, cv: 0.5 } } : {}),
          ...(whole === 'prefill' ? { promptTokens: [40, 300] } : {}),
        },
      };
      return {
        ...small,
        ...(bits === null ? {} : { precision: { bits: bits.slice(0, experts) } }),
        ...(whole === null ? {} : { scope: 'model' as const }),
        runtime: withinNodes(runtime, gpusPerNode),
        policies: [...chosen.filter((policy) => possible(policy, { ...small, bits })), 'ep' as const],
        seed,
      };
    },
  );

/** The same in training, on one stage or two, without what can't be trained. */
export const trainingArbitrary: fc.Arbitrary<ScenarioInput> = fc
  .record({
    scenario: scenarioArbitrary.filter(({ scope, cluster }) => {
      const { jitter, speed } = cluster as { jitter?: number; speed?: number[] };
      return scope !== 'model' && jitter === undefined && speed === undefined;
    }),
    recompute: fc.constantFrom('none' as const, 'activation' as const, 'moe' as const, 'full' as const),
    borrowedWeights: fc.constantFrom('keep' as const, 'fetch-again' as const),
    gradientDtype: fc.constantFrom('fp32' as const, 'bf16' as const),
    expertDataParallel: fc.constantFrom(1, 3),
    optimizer: fc.constantFrom(null, {}, { sharded: false, masterDtype: null }),
    stages: fc.constantFrom(1, 2),
    microBatches: fc.constantFrom(1, 3),
    delayWeightGradients: fc.boolean(),
  })
  .map(
    ({
      scenario: { precision: _, ...scenario },
      stages,
      microBatches,
      delayWeightGradients,
      ...training
    }) => ({
      ...scenario,
      runtime: { preset: 'megatron-alltoall' as const, delayWeightGradients },
      workload: { ...scenario.workload, phase: 'training' as const, layer: 'all' as const },
      training: { ...training, stages, microBatches },
      policies: scenario.policies.filter((policy) => isTrainable(policy, microBatches)).concat('ep'),
    }),
  );

/** Leaves out what a training refuses: weights that travel beside steps, placements that change between micro-batches. */
function isTrainable(choice: ScenarioInput['policies'][number], microBatches: number): boolean {
  if (typeof choice === 'string') return true;
  const options = policies.find(({ kind }) => kind === choice.kind)!.options.parse(choice);
  if (policyOf(options).trainingRefusal(options) !== null || traitsOf(options).movesInBackground)
    return false;
  if (microBatches === 1 || !('history' in options)) return true;
  const { history } = options;
  return (typeof history === 'string' ? history : history.kind) === 'calibration';
}

/** What scope model needs of a shape. */
function wholeShape(mla: boolean) {
  return {
    attention: mla
      ? ({
          kind: 'mla',
          heads: 8,
          kvRank: 64,
          queryRank: null,
          ropeSize: 16,
          nopeSize: 32,
          valueSize: 32,
        } as const)
      : ({ kind: 'gqa', heads: 8, kvHeads: 2, headSize: 64, window: 128, windowEvery: 2 } as const),
    denseLayers: 1,
    denseHiddenSize: 1024,
    vocabulary: 4096,
  };
}

/** Leaves out what its policy refuses. */
export function possible(
  choice: PolicyChoice,
  {
    model,
    cluster,
    workload,
    bits = null,
  }: Pick<SmallScenario, 'model' | 'cluster' | 'workload'> & { bits?: readonly number[] | null },
): boolean {
  const { gpus, gpusPerNode } = cluster;
  const { experts, topK, moeLayers } = model;
  const options = policies.find(({ kind }) => kind === choice.kind)!.options.parse(choice);
  const layers = workload.layer === 'all' ? moeLayers : 1;
  const weightBits = model.weightDtype === 'fp8' ? 8 : 16;
  const policy = policyOf(options);
  const enough = policy.warmup(options) < workload.steps;
  const refusal = policy.refusal(options, {
    gpus,
    gpusPerNode,
    experts,
    layers,
    layerIds: Array.from({ length: layers }, (_, layer) => layer),
    moeLayers,
    sharedExperts: model.sharedExperts ?? 0,
    weightBits,
    expertBits: bits && [Float64Array.from(bits)],
    placement: contiguous(gpus, experts, weightBits),
    copiesPerGpu: workload.tokensPerGpu * topK,
    hasTokens: workload.routing.tokens ?? false,
    candidates: workload.routing.kind === 'gate' ? experts : undefined,
    topK,
    hasGateWeights: workload.routing.gateWeights,
    calibration: () => [],
    importance: null,
    placementMaps: new Map(),
    seed: 1,
  });
  return enough && refusal === null;
}

/** Runs a scenario as `epsim run` does, with a look at every simulated layer. */
export async function simulateScenario(
  scenario: ScenarioInput,
  onLayer?: SimulationSpec['onLayer'],
  onTrainingStep?: SimulationSpec['onTrainingStep'],
) {
  const { resolved } = await openScenario(scenario);
  return simulate({ ...resolved, resamples: 0, onLayer, onTrainingStep });
}
