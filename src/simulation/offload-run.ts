import {
  cacheSlots,
  createRuntime,
  HIGH,
  LOW,
  NON_TENSOR_BYTES,
  OffloadMachine,
  precisionBytes,
  Prediction,
  SKIP,
  strategyLabel,
  type CacheSlots,
  type Contexts,
  type LoadCounts,
  type Machine,
  type OffloadOptions,
  type RuntimeOptions,
} from '../execution/index.js';
import { pairedRatio, summariseLatency } from '../metrics/index.js';
import type { Fault } from '../hardware/index.js';
import { randomStream, type RoutingSource } from '../routing/index.js';
import type { ListedPolicy } from './simulation-spec.js';
import type { ResolvedScenario } from '../scenario/index.js';
import type { OffloadResult, OffloadStrategyResult } from './offload-result.js';
import { RefusalError } from './refusal-error.js';
import { WholeStep } from './whole-step.js';

/** What a run with offloaded experts needs. */
export interface OffloadSpec {
  options: OffloadOptions;
  source: RoutingSource;
  machine: Machine;
  runtime: RuntimeOptions;
  /** null in scope `layer`. */
  contexts: Contexts | null;
  policies: readonly ListedPolicy[];
  warmup: number | null;
  seed: number | string;
  faults: readonly Fault[];
}

/** The offloading of a scenario; null where all experts are in the GPUs' memory. */
export function offloadOf({ offload, ...resolved }: ResolvedScenario): OffloadSpec | null {
  return offload === null ? null : { ...resolved, options: offload };
}

/**
 * Looks for what can be known to be impossible before anything runs.
 * @throws RefusalError
 */
export function checkOffload(spec: OffloadSpec): void {
  const { options, source, machine, runtime, contexts, policies } = spec;
  const { shape, cluster } = machine;
  if (contexts?.phase !== 'decode') {
    throw new RefusalError(
      'offload',
      contexts === null ? 'it in scope layer' : 'it in a prefill',
      'a decode in scope model: what is loaded ahead hangs on the layers that come next',
    );
  }
  if (runtime.preset !== 'ideal') {
    throw new RefusalError('runtime', runtime.preset, 'ideal with offload, which simulates no launches');
  }
  const other = policies.find(({ options: { kind } }) => kind !== 'ep' && kind !== 'balanced');
  if (other !== undefined) {
    throw new RefusalError(
      'policies',
      other.options.kind,
      'ep with offload: experts stay with their home GPUs',
    );
  }
  if (cluster.speed !== undefined || (cluster.jitter ?? 0) > 0) {
    throw new RefusalError(
      'cluster',
      'speed or jitter',
      'neither with offload: all GPUs run as the profile says',
    );
  }
  if (spec.faults.length > 0) {
    throw new RefusalError('cluster.faults', 'faults', 'none with offload: its machine stays as it is');
  }
  if (machine.precision) {
    throw new RefusalError(
      'precision',
      'bits of experts',
      'none with offload, which keeps every expert in two: offload.lowBits, and the model’s weightDtype',
    );
  }
  if (source.prunes) {
    throw new RefusalError(
      'workload.pruning',
      'pruned tokens',
      'none with offload, whose strategies choose themselves what is left out',
    );
  }
  if (source.layerIds.length !== shape.moeLayers) {
    throw new RefusalError(
      'workload.routing',
      `${source.layerIds.length} layers`,
      `the model's ${shape.moeLayers}: every layer has experts of its own to load`,
    );
  }
  if (!source.hasTokens) {
    throw new RefusalError(
      'workload.routing',
      'counts',
      'tokens (tokens: true), whose choices are predicted',
    );
  }
  if (!source.hasGateWeights && options.strategies.some(({ precision }) => precision === 'mixed')) {
    throw new RefusalError(
      'workload.routing',
      'routing without gate weights',
      'gateWeights: true, by which precisions are chosen; or strategies with precision "high"',
    );
  }
  if (options.hostMemoryBytes !== undefined && options.ssd === undefined) {
    throw new RefusalError('offload.ssd', 'nothing', 'the link from the SSD, since hostMemoryBytes is given');
  }
  if (options.highUpTo > options.lowUpTo) {
    throw new RefusalError(
      'offload.highUpTo',
      String(options.highUpTo),
      `at most lowUpTo = ${options.lowUpTo}`,
    );
  }
  const { high, low } = precisionBytes(machine, options);
  if (low > high) {
    throw new RefusalError(
      'offload.lowBits',
      String(options.lowBits),
      `at most those of ${shape.weightDtype}`,
    );
  }
  options.strategies.forEach(({ miss }, i) => {
    if (miss === 'cpu' && options.cpuSecondsPerExpert === undefined) {
      throw new RefusalError(
        `offload.strategies[${i}].miss`,
        'cpu',
        'load, or cpuSecondsPerExpert beside it',
      );
    }
  });
  slotsOf({ options, source, machine, runtime, contexts });
}

/**
 * Slots of every strategy, from the bytes that are there for them.
 * @throws RefusalError where a layer's experts do not fit them at once
 */
function slotsOf({
  options,
  source,
  machine,
  runtime,
  contexts,
}: Pick<OffloadSpec, 'options' | 'source' | 'machine' | 'runtime' | 'contexts'>): {
  bytes: number;
  slots: CacheSlots[];
} {
  const { gpus, gpu } = machine.cluster;
  const ofGpu = Math.ceil(source.experts / gpus);
  const whole = wholeOf({ source, machine, runtime, contexts });
  const beside = whole.otherWeights + Math.max(...fullestOf(whole, gpus)) + NON_TENSOR_BYTES;
  const bytes = options.cacheBytes ?? gpu.memoryBytes - beside;
  const perExpert = precisionBytes(machine, options);
  // Beside those that a layer wants, one load that was begun for another layer may hold a slot.
  const wanted = Math.min(ofGpu, source.tokensPerGpu * gpus * source.topK) + 1;
  const slots = options.strategies.map((strategy) =>
    cacheSlots(machine, options, strategy, Math.max(0, bytes), source.layerIds.length * ofGpu),
  );
  slots.forEach(({ high, low }, i) => {
    const mixed = options.strategies[i].precision === 'mixed';
    if (high >= wanted && (!mixed || low >= wanted)) return;
    const of = high < wanted ? 'high' : 'low';
    throw new RefusalError(
      'offload.cacheBytes',
      `${Math.round(bytes)}, of which strategy ${i} has ${Math.max(0, of === 'high' ? high : low)} experts in ${of} precision`,
      `room for ${wanted}: those that a layer may want at once and one on its way, of ${perExpert[of]} bytes each ` +
        (of === 'low' ? '(or a larger lowCacheShare)' : '(or a GPU with more memory)'),
    );
  });
  return { bytes, slots };
}

function wholeOf({
  source,
  machine,
  runtime,
  contexts,
}: Pick<OffloadSpec, 'source' | 'machine' | 'runtime' | 'contexts'>): WholeStep {
  const whole = new WholeStep(machine, createRuntime(runtime, machine), contexts!, source.layerIds.length);
  whole.start(new Int32Array(machine.cluster.gpus).fill(source.tokensPerGpu));
  return whole;
}

/** Bytes of KV cache and of the largest buffer outside the MoE parts, by GPU. */
function fullestOf(whole: WholeStep, gpus: number): number[] {
  return Array.from({ length: gpus }, (_, gpu) => whole.cacheBytes(gpu) + whole.workspace[gpu]);
}

/**
 * Runs all strategies over the same steps, each on a machine of its own.
 * @throws RefusalError
 */
export function simulateOffload(spec: OffloadSpec): OffloadResult {
  checkOffload(spec);
  const { options, source, machine, seed } = spec;
  const { cluster } = machine;
  const layers = source.layerIds.length;
  const warmup = spec.warmup ?? 0;
  const counted = source.steps - warmup;
  const { bytes, slots } = slotsOf(spec);
  const whole = wholeOf(spec);
  const runs = options.strategies.map((strategy, i) => ({
    strategy,
    slots: slots[i],
    machine: new OffloadMachine({ machine, options, strategy, slots: slots[i], layers, seed }),
    latencies: new Float64Array(counted),
  }));
  const ahead = Math.max(...options.strategies.map(({ prefetchLayers }) => prefetchLayers));
  const prediction = ahead > 0 ? new Prediction(source.experts, ahead, options.predictionAccuracy) : null;
  const frame = {
    leading: (layer: number) => whole.stretches(layer)[0].leading!,
    head: whole.head,
  };
  let tokens = 0;
  const stream = source.start();
  for (let step = stream.next(); step !== null; step = stream.next()) {
    const at = step.step - warmup;
    if (at >= 0) tokens += step.tokens;
    whole.start(step.tokensBySource);
    prediction?.take(step.layers, randomStream(seed, `predictions/${step.step}`));
    const opens =
      source.sequenceSteps === undefined ? at === -warmup : step.step % source.sequenceSteps === 0;
    for (const run of runs) {
      if (at === 0) run.machine.resetTotals();
      const seconds = run.machine.run(step, opens, prediction, frame);
      if (at >= 0) run.latencies[at] = seconds;
    }
  }
  const perExpert = precisionBytes(machine, options);
  const { bytesPerSecond, latencySeconds } = options.hostLink ?? cluster.profile.hostLink;
  return {
    expertBytes: perExpert,
    cacheBytes: bytes,
    allExpertsBytes: perExpert.high * layers * source.experts,
    hostLink: { bytesPerSecond, latencySeconds },
    strategies: runs.map(({ strategy, slots: own, machine: ran, latencies }): OffloadStrategyResult => {
      const { totals } = ran;
      const counts = sumCounts(ran.counts);
      const copies = totals.classes.reduce((sum, of) => sum + of, 0);
      const summary = summariseLatency(latencies, 1);
      const perStep = (sum: number) => sum / counted;
      const both = (list: readonly number[]) => ({ high: list[HIGH], low: list[LOW] });
      const ratio = (found: number, of: number) => (of > 0 ? found / of : 1);
      return {
        strategy,
        label: strategyLabel(strategy),
        slots: own,
        stepLatency: summary,
        tokensPerSecond: tokens / counted / summary.mean,
        speedup: pairedRatio(runs[0].latencies, latencies),
        loadingShare: totals.stalled / totals.gpuSeconds,
        linkBusyShare: totals.linkBusy / totals.gpuSeconds,
        classes: {
          high: totals.classes[HIGH] / copies,
          low: totals.classes[LOW] / copies,
          skip: totals.classes[SKIP] / copies,
        },
        requests: both(counts.requests),
        hitRatio: {
          high: ratio(counts.hits[HIGH], counts.requests[HIGH]),
          low: ratio(counts.hits[LOW], counts.requests[LOW]),
        },
        late: both(counts.late),
        demanded: both(counts.demanded),
        prefetched: {
          ...both(counts.prefetched),
          useful: counts.usefulPrefetches,
          wasted: counts.wastedPrefetches,
        },
        byHost: counts.byHost,
        missPenalty: perStep(missPenalty(counts, perExpert.low / perExpert.high)),
        loadedBytes: perStep(totals.loadedBytes),
        ssdBytes: perStep(totals.ssdBytes),
        loss: { low: totals.lowCopies / copies, skipped: totals.skippedCopies / copies },
      };
    }),
    notes: notesOf(spec),
  };
}

/** What misses cost in loads of high precision: one each, a miss of low precision as much less as it has bytes. */
function missPenalty({ requests, hits, late }: LoadCounts, low: number): number {
  const missed = (precision: number) => requests[precision] - hits[precision] - late[precision];
  return missed(HIGH) + low * missed(LOW);
}

function sumCounts(byGpu: readonly LoadCounts[]): LoadCounts {
  const listed = (of: (counts: LoadCounts) => readonly number[]) =>
    [0, 1, 2].map((i) => byGpu.reduce((sum, counts) => sum + of(counts)[i], 0));
  const summed = (of: (counts: LoadCounts) => number) => byGpu.reduce((sum, counts) => sum + of(counts), 0);
  return {
    requests: listed((counts) => counts.requests),
    hits: listed((counts) => counts.hits),
    late: listed((counts) => counts.late),
    demanded: listed((counts) => counts.demanded),
    prefetched: listed((counts) => counts.prefetched),
    usefulPrefetches: summed((counts) => counts.usefulPrefetches),
    wastedPrefetches: summed((counts) => counts.wastedPrefetches),
    byHost: summed((counts) => counts.byHost),
  };
}

function notesOf({ options, source, machine }: OffloadSpec): string[] {
  const { strategies, lowBits, hostMemoryBytes } = options;
  const uses = (is: (strategy: OffloadOptions['strategies'][number]) => boolean) => strategies.some(is);
  return [
    'offload: one load at a time per GPU at the link’s rate; no launches, no copies on the host; caches are empty at first',
    ...(uses(({ precision }) => precision === 'mixed')
      ? [
          `mixed precision: what ${lowBits}-bit experts cost in accuracy is not simulated; the loss is the share of copies ` +
            'computed in low precision or left out',
        ]
      : []),
    ...(source.tokensPerGpu * machine.cluster.gpus > 1
      ? ['several tokens in a step: an expert is wanted in the highest precision that any of them asks for']
      : []),
    ...(uses(({ prefetchLayers }) => prefetchLayers > 0)
      ? [
          'predictions: choices of the routing itself, each right with predictionAccuracy, drawn independently',
        ]
      : []),
    ...(uses(({ miss }) => miss === 'cpu')
      ? ['cpu: a node’s host computes one expert at a time, in the same time for any number of tokens']
      : []),
    ...(hostMemoryBytes !== undefined
      ? [
          'host memory: experts used last, empty at first; loads from the SSD pass through it at the slower rate',
        ]
      : []),
    ...(source.sequenceSteps === undefined
      ? ['the routing does not say when sequences begin: counts of use are never reset']
      : []),
  ];
}
