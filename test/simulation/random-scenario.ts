import fc from 'fast-check';
import { runtimes } from '../../src/execution/index.js';
import { openScenario } from '../../src/run.js';
import type { ScenarioInput } from '../../src/scenario/index.js';
import { simulate, type SimulationSpec } from '../../src/simulation/index.js';

const policyArbitrary = fc.oneof(
  fc.constant<ScenarioInput['policies'][number]>('ep'),
  fc.constant<ScenarioInput['policies'][number]>('balanced'),
  fc.record({
    kind: fc.constant('llep' as const),
    alpha: fc.constantFrom(1, 1.1, 1.5),
    minTokensPerGemm: fc.constantFrom(1, 4, 32, 1024),
    imbalanceThreshold: fc.constantFrom(0, 1.1, 1.3, 2),
    helpers: fc.constantFrom('any' as const, 'intra-node' as const),
  }),
  fc.record({
    kind: fc.constant('replicate-quantize' as const),
    replicas: fc.nat(3),
    bits: fc.constantFrom(4, 8),
    split: fc.constantFrom('random' as const, 'even' as const, 'least-loaded' as const),
    replanEvery: fc.constantFrom(null, 2),
  }),
  fc.record({
    kind: fc.constant('eplb' as const),
    placement: fc.constantFrom(
      'eplb' as const,
      'round-robin' as const,
      { kind: 'eplb' as const, groups: 2, avoidDuplicates: true },
      { kind: 'eplb' as const, reorderOnly: true },
      { kind: 'contiguous' as const, slots: 19 },
    ),
    dispatch: fc.constantFrom(
      'home' as const,
      'even' as const,
      'random' as const,
      'round-robin' as const,
      'nearest' as const,
      'least-loaded' as const,
      'lp' as const,
      'lp-sampled' as const,
      'fewest-active' as const,
    ),
  }),
  fc.record({
    kind: fc.constant('eplb' as const),
    dispatch: fc.constantFrom('even' as const, 'lp' as const),
    history: fc.constantFrom(
      { kind: 'window' as const, interval: 1, steps: 2 },
      { kind: 'decay' as const, interval: 1, factor: 0.5 },
      { kind: 'oracle' as const },
    ),
  }),
  fc.record({
    kind: fc.constant('eplb' as const),
    movement: fc.constantFrom(
      'async' as const,
      { kind: 'async' as const, layersPerStep: 2, from: 'host' as const },
      'chunked' as const,
      { kind: 'blocking' as const, alignSlots: false },
      'free' as const,
    ),
    history: fc.constant({ kind: 'window' as const, interval: 3, first: 1 }),
  }),
  fc.constantFrom(
    { kind: 'ultraep' as const, minTokensPerReplica: 1 },
    { kind: 'ultraep' as const, minTokensPerReplica: 16, spareSlots: 1, threshold: 1.1 },
    { kind: 'harmoeny' as const, minTokens: 4 },
    { kind: 'fastermoe-shadow' as const, breakEvenTokens: 2 },
  ),
  fc.record({
    kind: fc.constant('capacity' as const),
    factor: fc.constantFrom(null, 0.5, 1, 1.25),
    budget: fc.constantFrom('expert-per-source-gpu' as const, 'expert' as const, 'gpu' as const),
    order: fc.constantFrom('position' as const, 'random' as const, 'score' as const),
  }),
);

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
      { kind: 'workload' as const, name: 'W4' as const },
      { kind: 'workload' as const, name: 'W6' as const, period: 1 },
    ),
    fc.boolean(),
  )
  .map(([kind, gateWeights]) => ({ ...kind, gateWeights }));

/** Every runtime, with options that change what it launches: all of them are rivals behind the same tests. */
const runtimeArbitrary: fc.Arbitrary<ScenarioInput['runtime']> = fc.oneof(
  fc.constantFrom(...runtimes.map(({ name }) => name)),
  fc.record({
    preset: fc.constant('allgather-reducescatter' as const),
    host: fc.constantFrom('graph' as const, 'eager' as const),
    planner: fc.constantFrom('host' as const, 'gpu' as const),
    dispatchDtype: fc.constantFrom('bf16' as const, 'activation' as const),
  }),
  fc.record({
    preset: fc.constant('deepep-normal' as const),
    planner: fc.constantFrom('host' as const, 'gpu' as const),
    overlap: fc.constantFrom('none' as const, 'shared-expert' as const),
  }),
  fc.record({
    preset: fc.constant('deepep-low-latency' as const),
    maxTokensPerGpu: fc.constantFrom(500, 512),
    overlap: fc.constantFrom('none' as const, 'shared-expert' as const),
  }),
);

/** Small scenarios of every kind that can run. */
export const scenarioArbitrary: fc.Arbitrary<ScenarioInput> = fc
  .record({
    size: fc.constantFrom<[number, number, number][]>(
      [1, 1, 4],
      [2, 2, 4],
      [4, 2, 8],
      [4, 4, 16],
      [8, 4, 16],
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
    seed: fc.nat(1000),
  })
  .map(
    ({
      size: [gpus, gpusPerNode, experts],
      topK,
      weightDtype,
      fabric,
      routing,
      policies,
      tokensPerGpu,
      steps,
      layer,
      runtime,
      sharedExperts,
      seed,
      whole,
      stragglers,
      mla,
    }) => ({
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
      runtime,
      workload: {
        phase: whole ?? ('prefill' as const),
        tokensPerGpu,
        steps,
        routing,
        layer,
        ...(whole === 'decode' ? { kvTokens: { mean: 1000 * tokensPerGpu, cv: 0.5 } } : {}),
        ...(whole === 'prefill' ? { promptTokens: [40, 300] } : {}),
      },
      ...(whole === null ? {} : { scope: 'model' as const }),
      policies: policies
        .filter((policy) =>
          possible(policy, gpus, experts, weightDtype, routing.gateWeights, tokensPerGpu * topK),
        )
        .concat('ep'),
      seed,
    }),
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
  .map(({ scenario, stages, microBatches, delayWeightGradients, ...training }) => ({
    ...scenario,
    runtime: { preset: 'megatron-alltoall' as const, delayWeightGradients },
    workload: { ...scenario.workload, phase: 'training' as const, layer: 'all' as const },
    training: { ...training, stages, microBatches },
    policies: scenario.policies.filter((policy) => isTrainable(policy, microBatches)).concat('ep'),
  }));

function isTrainable(policy: ScenarioInput['policies'][number], microBatches: number): boolean {
  if (typeof policy === 'string') return true;
  if (policy.kind === 'replicate-quantize') return policy.replicas === 0;
  if (policy.kind !== 'eplb') return true;
  const { movement, history } = policy;
  if (movement === 'async' || (typeof movement === 'object' && movement?.kind === 'async')) return false;
  return microBatches === 1 || history === undefined || history === 'calibration';
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

/** Leaves out what is refused for good reason. */
function possible(
  policy: ScenarioInput['policies'][number],
  gpus: number,
  experts: number,
  weightDtype: string,
  gateWeights: boolean,
  copiesPerGpu: number,
): boolean {
  if (typeof policy === 'string') return true;
  if (policy.kind === 'replicate-quantize' && policy.replicas! > 0) {
    const affordable = policy.bits === 4 || weightDtype === 'bf16';
    return gpus > 1 && affordable && experts >= 2 * policy.replicas! + 2;
  }
  if (policy.kind !== 'capacity') return true;
  const nothingLeft = policy.budget === 'gpu' && (policy.factor ?? 1) * copiesPerGpu < 1;
  return !nothingLeft && (policy.order !== 'score' || gateWeights);
}

/** Runs a scenario as `epsim run` does, with a look at every simulated layer. */
export async function simulateScenario(
  scenario: ScenarioInput,
  onLayer?: SimulationSpec['onLayer'],
  onTrainingStep?: SimulationSpec['onTrainingStep'],
) {
  const { resolved } = await openScenario(scenario);
  const { machine, runtime, training, source, policies, warmup, seed, contexts, placementMaps } = resolved;
  return simulate({
    machine,
    runtime,
    training,
    source,
    policies,
    warmup,
    seed,
    contexts,
    placementMaps,
    resamples: 0,
    onLayer,
    onTrainingStep,
  });
}
