import { policyOf, type Placement } from '../../balancing/index.js';
import { createRuntime, expertBytes, type Machine } from '../../execution/index.js';
import type { Fault, Loss } from '../../hardware/index.js';
import { someSteps } from '../../routing/index.js';
import type { LayerObserver } from '../pass.js';
import { RefusalError } from '../refusal-error.js';
import type { PolicyResult } from '../result.js';
import { checkPolicies, simulate, type SimulationResult } from '../simulate.js';
import type { SimulationSpec } from '../simulation-spec.js';
import { epochsOf, type Epoch } from './epochs.js';
import type { Condition, FaultReport, Recovery } from './fault-report.js';
import { recover } from './recovery.js';

/** Placements of an epoch's first and last step, [policy][layer]. */
interface InForce {
  first: Placement[][];
  last: Placement[][];
}

/**
 * Looks for faults that can't happen, and for policies that can't work with what they leave.
 * @throws RefusalError
 */
export function checkFaults(spec: SimulationSpec, faults: readonly Fault[]): void {
  if (faults.length === 0) return;
  if (spec.training) {
    throw new RefusalError('cluster.faults', 'faults in a training', 'nothing there, or inference');
  }
  const early = faults.findIndex(({ atStep }) => spec.warmup !== null && atStep <= spec.warmup);
  if (early >= 0) {
    throw new RefusalError(
      `cluster.faults[${early}].atStep`,
      `${faults[early].atStep} in the warm-up of ${spec.warmup} steps`,
      `more than ${spec.warmup}, so that there are figures before it`,
    );
  }
  for (const epoch of epochsOf(spec, faults)) inEpoch(epoch, () => checkPolicies(specOf(spec, epoch)));
}

/**
 * Simulates what comes before the first fault, and between each and the next: every time all steps on the machine that
 * is left, of which those since the fault count, so that policies know what they saw before.
 * @returns the result of the steps before the first fault, and what every fault leaves
 * @throws RefusalError
 */
export function simulateFaults(
  spec: SimulationSpec,
  faults: readonly Fault[],
): SimulationResult & { faults: FaultReport[] } {
  const epochs = epochsOf(spec, faults);
  const placements: InForce[] = [];
  const results = epochs.map((epoch, i) => {
    const inForce: InForce = { first: spec.policies.map(() => []), last: spec.policies.map(() => []) };
    placements.push(inForce);
    const keep: LayerObserver = (run, base, seconds, at) => {
      const { placement } = run.plan!;
      if (at.step === 0) inForce.first[at.policy][at.batch.layer] = placement;
      inForce.last[at.policy][at.batch.layer] = placement;
      if (i === 0) spec.onLayer?.(run, base, seconds, at);
    };
    return inEpoch(epoch, () =>
      simulate({
        ...specOf(spec, epoch),
        resamples: i === 0 ? spec.resamples : 0,
        onLayer: keep,
        onTasks: i === 0 ? spec.onTasks : undefined,
        onHead: i === 0 ? spec.onHead : undefined,
      }),
    );
  });
  const reports = epochs.slice(1).map((epoch, i): FaultReport => {
    const [before, after] = [results[i], results[i + 1]];
    // The machine as it was, in the steps of this epoch.
    const spared = { ...epochs[i], from: epoch.from, until: epoch.until };
    const without = simulate({
      ...specOf(spec, spared),
      resamples: 0,
      onLayer: undefined,
      onTasks: undefined,
      onHead: undefined,
    });
    const gpus: [number, number] = [epochs[i].machine.cluster.gpus, epoch.machine.cluster.gpus];
    return {
      faults: epoch.faults,
      step: epoch.from,
      gpus,
      policies: spec.policies.map(({ options, anchor }, policy) => {
        const [here, there] = [placements[i].last[policy], placements[i + 1].last[policy]];
        const was = conditionOf(before.policies[policy], before.routing.steps, epochs[i], spec, here);
        return {
          policy: options,
          anchor,
          before: was,
          without: conditionOf(without.policies[policy], without.routing.steps, epochs[i], spec, here),
          recovery: policyOf(options).anchor
            ? null
            : recoveryOf(spec, epoch, here, placements[i + 1].first[policy], was),
          after: conditionOf(after.policies[policy], after.routing.steps, epoch, spec, there),
        };
      }),
    };
  });
  const [first] = results;
  const notes = [
    `faults: tables above are of the ${first.routing.steps} steps before step ${epochs[1].from}; what comes after is apart`,
    ...faultNotes(spec, faults),
  ];
  return {
    ...first,
    routing: { ...first.routing, notes: [...first.routing.notes, ...notes] },
    faults: reports,
  };
}

function specOf(spec: SimulationSpec, epoch: Epoch): SimulationSpec {
  const { machine, contexts, standard, source, from, until } = epoch;
  return {
    ...spec,
    machine,
    contexts,
    standard,
    source: someSteps(source, 0, until),
    warmup: from === 0 ? spec.warmup : from,
  };
}

/** @param placements the last of every layer */
function conditionOf(
  { stepLatency, tokensPerSecondPerGpu, peakMemory, imbalance }: PolicyResult,
  steps: number,
  { machine }: Epoch,
  { contexts, runtime }: SimulationSpec,
  placements: readonly Placement[],
): Condition {
  const { max, perGpu, verdict, byCategory, capacity, nonTensor } = peakMemory;
  const { moeLayers } = machine.shape;
  // In scope model all of them are resident, and were counted.
  const onFullest = (contexts ? 1 : moeLayers) * (byCategory.weights + byCategory.replicas);
  const holdsAll = createRuntime(runtime, machine).residentExperts === 'all';
  // The GPU with most memory in use need not be the one with most experts.
  const more = holdsAll ? 0 : moeLayers * expertsAbove(placements, perGpu.indexOf(max), machine);
  const bytes = onFullest + more;
  return {
    stepLatency: stepLatency.mean,
    steps,
    tokensPerSecond: machine.cluster.gpus * tokensPerSecondPerGpu,
    gamma: imbalance.gpu.after.maxOverMean,
    peakMemory: { max, verdict },
    experts: { bytes, fit: bytes + nonTensor <= capacity },
  };
}

/** Bytes of a layer's experts, in the mean of layers, on the GPU that has most of them over those of one GPU. */
function expertsAbove(placements: readonly Placement[], gpu: number, machine: Machine): number {
  const own = new Float64Array(machine.cluster.gpus);
  for (const { slotGpu, slotBits } of placements) {
    for (let slot = 0; slot < slotGpu.length; slot++) {
      own[slotGpu[slot]] += expertBytes(machine, slotBits[slot]) / placements.length;
    }
  }
  return own.reduce((most, bytes) => Math.max(most, bytes), 0) - own[gpu];
}

/** Null where no GPU was lost. */
function recoveryOf(
  spec: SimulationSpec,
  { faults, machine, carried }: Epoch,
  before: readonly Placement[],
  after: readonly Placement[],
  was: Condition,
): Recovery | null {
  const losses = faults.filter((fault): fault is Loss => fault.kind !== 'link');
  if (losses.length === 0) return null;
  const moved = recover(machine, createRuntime(spec.runtime, machine), { before, after, carried }, losses);
  const layers = moved.seconds.length;
  const all = Math.max(machine.shape.moeLayers, layers) / layers;
  const layerSeconds = moved.seconds.reduce((sum, seconds) => sum + seconds, 0) / layers;
  const pause = losses.reduce((longest, { pauseSeconds }) => Math.max(longest, pauseSeconds), 0);
  const seconds = pause + all * layers * layerSeconds;
  return {
    seconds,
    layerSeconds,
    lostExperts: moved.lostExperts / layers,
    bytes: { gpus: all * moved.bytes.gpus, storage: all * moved.bytes.storage },
    staging: moved.staging,
    stepsMissed: seconds / (was.stepLatency * (spec.contexts ? 1 : all * layers)),
  };
}

/** What is assumed of faults. */
function faultNotes({ runtime, machine, contexts }: SimulationSpec, faults: readonly Fault[]): string[] {
  const losses = faults.filter((fault): fault is Loss => fault.kind !== 'link');
  if (losses.length === 0) return [];
  const isMoved = losses.some(({ requests }) => requests === 'moved');
  return [
    'recovery: no step runs; layers one after the other, simulated ones standing for all MoE layers; noticing the loss ' +
      'and connecting anew take what pauseSeconds says',
    ...(isMoved
      ? [
          'tokens of lost GPUs go to the others in turn' +
            (contexts ? ', their KV cache too; computing it again is not counted' : ''),
        ]
      : ['tokens of lost GPUs are dropped']),
    ...(createRuntime(runtime, machine).residentExperts === 'all'
      ? ['every GPU of this runtime holds all experts, so that nothing has to move']
      : []),
  ];
}

/** Says of a refusal which GPUs are left. */
function inEpoch<T>({ original, faults, from }: Epoch, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (faults.length === 0) throw error;
    const where = `with the ${original.length} GPUs from step ${from} on`;
    if (error instanceof RefusalError) {
      throw new RefusalError(error.path, `${error.found} ${where}`, error.allowed);
    }
    if (error instanceof RangeError) {
      throw new RefusalError(
        'cluster.faults',
        `${error.message} ${where}`,
        'another fault, or another runtime',
      );
    }
    throw error;
  }
}
