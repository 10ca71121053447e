/** The part of a layer that every GPU computes before its MoE part: attention, dense layers, shared experts. */
import { describe, expect, it } from 'vitest';
import {
  contiguous,
  LayerLoads,
  LayerWork,
  policyOf,
  traitsOf,
  type PolicySetting,
} from '../../src/balancing/index.js';
import {
  createRuntime,
  newLedger,
  runtimes,
  type LeadingSeconds,
  type Machine,
  type RuntimeOptions,
} from '../../src/execution/index.js';
import { createNetwork, defaultProfile, gpuPresets, PortLoads } from '../../src/hardware/index.js';
import { completeShape, shapeSchema } from '../../src/model/index.js';

const gpu = gpuPresets.h100;
const machine: Machine = {
  cluster: { gpu, gpus: 2, gpusPerNode: 2, fabric: 'ports', profile: defaultProfile(gpu) },
  shape: completeShape(shapeSchema.parse({ hiddenSize: 512, expertHiddenSize: 256, experts: 4, topK: 1 })),
};
const placement = contiguous(2, 4, 16);
const setting: PolicySetting = {
  gpus: 2,
  gpusPerNode: 2,
  experts: 4,
  layers: 1,
  layerIds: [0],
  moeLayers: 1,
  weightBits: 16,
  placement,
  copiesPerGpu: 8,
  hasTokens: false,
  hasGateWeights: false,
  importance: null,
  placementMaps: new Map(),
  seed: 1,
  calibration: () => [new Float64Array(4)],
};
/** Each GPU sends 2 copies to each expert, so that nothing but what leads is uneven. */
const counts = new Int32Array(8).fill(2);

function layerOf(preset: RuntimeOptions['preset'], leading: LeadingSeconds | null) {
  const options = { kind: 'ep' } as const;
  const runtime = createRuntime(
    runtimes.find(({ name }) => name === preset)!.options.parse({ preset }),
    machine,
  );
  const network = createNetwork(machine.cluster);
  const program = runtime.program({
    machine,
    network,
    ledger: newLedger(machine),
    traits: traitsOf(options),
    leads: leading !== null,
  });
  const work = new LayerWork(2, 4, program.rowRounding, 16);
  const base = new LayerLoads(2, 4, placement.home).count(counts);
  const { plan } = policyOf(options).decide(policyOf(options).start(options, setting), {
    step: 0,
    layer: 0,
    counts,
    loads: base.loads,
    tokensBySource: Int32Array.of(8, 8),
    tokens: null,
    seed: 1,
  });
  work.expand(plan, base);
  program.fill({ plan, work, ports: new PortLoads(2, 2).count(work.send), tokensBySource: [8, 8], leading });
  return { program, seconds: program.executor.run(0) };
}

const waitingBy = (program: ReturnType<typeof layerOf>['program'], by: 'source' | 'experts') =>
  program.rendezvous
    .filter(({ lateBy }) => lateBy === by)
    .flatMap(({ task, arrivals }) =>
      arrivals.map((arrival) => program.executor.start[task] - program.executor.end[arrival]),
    )
    .reduce((sum, wait) => sum + wait, 0);

describe('work ahead of the MoE part', () => {
  /** GPU 0 is ready after 2 seconds, GPU 1 after 4. */
  const leading: LeadingSeconds = { dense: [0.5, 0.5], attention: [1.25, 3.25], shared: [0.25, 0.25] };

  it('ideal: the dispatch waits for the later GPU, and the wait is no wait for experts', () => {
    const alone = layerOf('ideal', null).seconds;
    const { program, seconds } = layerOf('ideal', leading);
    expect(seconds).toBeCloseTo(4 + alone, 12);
    expect(waitingBy(program, 'source')).toBeCloseTo(2, 12);
    expect(waitingBy(program, 'experts')).toBeCloseTo(0, 12);
  });

  it.each(['llep-reference', 'llep-engineered'] as const)('%s: at its exchange of counts', (preset) => {
    const { program } = layerOf(preset, leading);
    const { start } = program.executor;
    const counted = Math.min(...program.rendezvous.map(({ task }) => start[task]));
    // Counting 8 copies takes next to nothing, and launches run beside attention.
    expect(counted).toBeGreaterThan(4);
    expect(counted).toBeCloseTo(4, 9);
    expect(waitingBy(program, 'source')).toBeCloseTo(2, 9);
  });

  it('adds no task where a layer begins with its MoE part', () => {
    const without = layerOf('ideal', null).program.executor.graph.tasks;
    expect(layerOf('ideal', leading).program.executor.graph.tasks).toBe(without + 3 * 2);
  });

  it('a slower GPU takes longer for its kernels, not for its transfers', () => {
    const { program, seconds } = layerOf('ideal', leading);
    const { executor, compute } = program;
    for (let task = 0; task < executor.graph.tasks; task++) {
      const at = executor.graph.streamFirst[task];
      if (executor.graph.streamFirst[task + 1] - at === 1 && executor.graph.streamsOf[at] === compute[1]) {
        executor.slowdown[task] = 2;
      }
    }
    const experts = executor.end.at(-2)! - executor.start.at(-2)!;
    expect(executor.run(0)).toBeCloseTo(seconds + 4 + experts, 12);
  });
});
