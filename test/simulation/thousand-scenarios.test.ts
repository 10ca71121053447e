/**
 * 1,000 random small scenarios for every policy, with random options: what it plans keeps the invariants of
 * docs/architecture.md §6 that a policy can break (1 conservation, 4 ledger, 5 determinism, 6 exactness, 7 bound).
 * `combination` draws its placement, dispatch, movement and history at random.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  contiguous,
  LayerLoads,
  policies,
  type PolicyOptions,
  type PolicySetting,
} from '../../src/balancing/index.js';
import { createRuntime, runtimes, type Machine, type RuntimeOptions } from '../../src/execution/index.js';
import { defaultProfile, gpuPresets } from '../../src/hardware/index.js';
import { completeShape, shapeSchema } from '../../src/model/index.js';
import { generators, generatorSource } from '../../src/routing/index.js';
import { PolicyRun } from '../../src/simulation/policy-run.js';
import { possible, randomOptions, runtimeArbitrary, withinNodes } from './random-scenario.js';

const SCENARIOS = 1000;
/** Shared experts of the model, which combinations may make part of the layer. */
const SHARED = 2;

const sizes: [gpus: number, gpusPerNode: number, experts: number][] = [
  [1, 1, 4],
  [2, 2, 4],
  [3, 3, 8],
  [4, 2, 8],
  [4, 4, 6],
  [6, 2, 4],
];

const scenarios = fc.record({
  size: fc.constantFrom(...sizes),
  topK: fc.integer({ min: 1, max: 3 }),
  tokensPerGpu: fc.constantFrom(1, 5, 40),
  steps: fc.integer({ min: 2, max: 5 }),
  layers: fc.constantFrom(1, 2),
  runtime: runtimeArbitrary,
  fabric: fc.constantFrom('ports' as const, 'max-min' as const),
  routing: fc.constantFrom(
    { kind: 'balanced' },
    { kind: 'zipf', exponent: 1.2 },
    { kind: 'zipf', exponent: 0.8, redraw: 'run' },
    { kind: 'hot-experts', share: 0.7, experts: 2 },
    { kind: 'log-normal', sigma: 1.5 },
  ),
  tokens: fc.boolean(),
  gateWeights: fc.boolean(),
  seed: fc.nat(1000),
});

type Drawn = typeof scenarios extends fc.Arbitrary<infer T> ? T : never;
type Scenario = Omit<Drawn, 'routing'> & { routing: { kind: string } };

const gpu = gpuPresets.h100;
const profile = defaultProfile(gpu);

/** Scenarios of fast-check's own seeds, until so many of them can run with the options drawn beside them. */
function* drawn(kind: PolicyOptions['kind']): Generator<[PolicyOptions, Scenario]> {
  const policy = policies.find((one) => one.kind === kind)!;
  const pairs = fc.sample(fc.tuple(randomOptions(kind), scenarios), { numRuns: 6 * SCENARIOS, seed: 1 });
  let found = 0;
  for (const [choice, any] of pairs) {
    const scenario = kind === 'laser' ? withScores(any) : any;
    const { size, topK, tokensPerGpu, steps, layers, tokens, gateWeights } = scenario;
    const [gpus, gpusPerNode, experts] = size;
    const fits = possible(choice, {
      model: { experts, topK, moeLayers: layers, weightDtype: 'bf16', sharedExperts: SHARED },
      cluster: { gpus, gpusPerNode },
      workload: {
        tokensPerGpu,
        steps,
        layer: 'all',
        routing: { kind: scenario.routing.kind, tokens, gateWeights },
      },
    });
    if (!fits) continue;
    yield [policy.options.parse(choice), scenario];
    if (++found === SCENARIOS) return;
  }
  throw new Error(`${kind}: only ${found} of ${pairs.length} drawn scenarios can run`);
}

/** The same with a gate whose scores are all known, for policies that choose among them. */
function withScores(scenario: Scenario): Scenario {
  return { ...scenario, routing: { kind: 'gate' }, tokens: true, gateWeights: true };
}

/** Runs a policy over a scenario; returns seconds and GPU loads of every layer of every step. */
function runOnce(options: PolicyOptions, scenario: Scenario): number[] {
  const { size, topK, tokensPerGpu, steps, layers, routing, tokens, gateWeights, seed } = scenario;
  const [gpus, gpusPerNode, experts] = size;
  const shape = completeShape(
    shapeSchema.parse({
      hiddenSize: 512,
      expertHiddenSize: 256,
      experts,
      topK,
      moeLayers: layers,
      sharedExperts: SHARED,
    }),
  );
  const machine: Machine = {
    shape,
    cluster: { gpu, gpus, gpusPerNode, fabric: scenario.fabric, profile },
  };
  const layerIds = Array.from({ length: layers }, (_, layer) => layer);
  const source = generatorSource({
    options: generators
      .find(({ kind }) => kind === routing.kind)!
      .options.parse({ ...routing, tokens, gateWeights }),
    setting: { gpus, experts, topK, routerGroups: 1, topGroups: 1, tokensPerGpu },
    layerIds,
    steps,
    seed,
  });
  const setting: PolicySetting = {
    gpus,
    gpusPerNode,
    experts,
    layers,
    layerIds,
    moeLayers: layers,
    sharedExperts: SHARED,
    weightBits: 16,
    placement: contiguous(gpus, experts, 16),
    copiesPerGpu: tokensPerGpu * topK,
    hasTokens: source.hasTokens,
    hasGateWeights: source.hasGateWeights,
    candidates: source.candidates,
    topK,
    calibration: (share) => source.calibration(share).loads,
    importance: null,
    placementMaps: new Map(),
    seed,
  };
  const run = new PolicyRun(options, 0, machine, runtimeOf(scenario, machine), setting);
  const base = new LayerLoads(gpus, experts, setting.placement.home);
  const observed: number[] = [];
  const stream = source.start();
  for (let step = stream.next(); step !== null; step = stream.next()) {
    for (const batch of step.layers) {
      const seconds = run.run(step, batch, base.count(batch.counts), seed);
      check(run, base, seconds);
      observed.push(seconds, ...run.work.copies);
    }
  }
  return observed;
}

function runtimeOf({ runtime, size: [, gpusPerNode] }: Scenario, machine: Machine) {
  const chosen = withinNodes(runtime, gpusPerNode);
  const options = (typeof chosen === 'string' ? { preset: chosen } : chosen) as RuntimeOptions;
  const { options: schema } = runtimes.find(({ name }) => name === options.preset)!;
  return createRuntime(schema.parse(options), machine);
}

function check(run: PolicyRun, base: LayerLoads, seconds: number): void {
  const { plan, work, ports, policy, options, ledger, residency, lastBound } = run;
  const { gpus, total } = base;
  const dropped = plan!.drop ? total - sum(plan!.drop.kept) : 0;
  const failures = [
    near(sum(work.copies), total - dropped) ? '' : `1: ${sum(work.copies)} computed of ${total} − ${dropped}`,
    ...[0, 2].map((out) => {
      const port = (kind: number) => sum(ports.units.subarray(kind * gpus, (kind + 1) * gpus));
      return near(port(out), port(out + 1)) ? '' : `1: ${port(out)} sent, ${port(out + 1)} received`;
    }),
    ...Array.from({ length: gpus }, (_, of) =>
      ledger.totalOf(of) === residency.bytesOn(of) && ledger.peakOf(of).bytes >= ledger.totalOf(of)
        ? ''
        : `4: GPU ${of} keeps ${ledger.totalOf(of)} bytes of ${residency.bytesOn(of)}`,
    ),
    policy.exact(options) && (plan!.drop !== null || plan!.placement.mixed) ? '6: an exact policy drops' : '',
    policy.anchor || seconds >= lastBound * (1 - 1e-9) ? '' : `7: ${seconds} s, bound ${lastBound} s`,
  ].filter((failure) => failure !== '');
  if (failures.length > 0) throw new Error(failures.join('; '));
}

/** Says with an error which policy met it where. */
function told<T>(options: PolicyOptions, scenario: Scenario, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw new Error(`${JSON.stringify(options)} in ${JSON.stringify(scenario)}`, { cause: error });
  }
}

function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}

const near = (a: number, b: number) => Math.abs(a - b) <= 1e-6 * Math.max(1, Math.abs(b));

describe(`${SCENARIOS} random scenarios keep the invariants`, () => {
  it.each(policies.map(({ kind }) => kind as PolicyOptions['kind']))('%s', (kind) => {
    for (const [options, scenario] of drawn(kind)) {
      const first = told(options, scenario, () => runOnce(options, scenario));
      if (scenario.seed % 4 === 0)
        told(options, scenario, () => expect(runOnce(options, scenario), 'invariant 5').toEqual(first));
    }
  });
});
