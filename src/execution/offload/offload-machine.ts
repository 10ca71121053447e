import { contiguous } from '../../balancing/index.js';
import { LiveTasks, PortFabric } from '../../engine/index.js';
import {
  bitsOf,
  createNetwork,
  findStage,
  PortLoads,
  stageCost,
  stageSeconds,
  type ExpertStageCost,
  type Network,
} from '../../hardware/index.js';
import { randomStream, type LayerBatch, type RoutingStep } from '../../routing/index.js';
import type { LeadingSeconds } from '../leading-work.js';
import { combineBytes, dispatchBytes, type Machine } from '../machine.js';
import { expertBytes } from '../memory.js';
import { ExpertLoader, type LoadCounts } from './expert-loader.js';
import { gateClasses, HIGH, LOW, NOBODY, SKIP } from './gate-classes.js';
import { HostMemory } from './host-memory.js';
import { evictionWeights, type OffloadOptions, type OffloadStrategy } from './options.js';
import type { Prediction } from './prediction.js';
import { Usage } from './usage.js';

/** Bytes of the two caches of a GPU in slots. */
export interface CacheSlots {
  high: number;
  low: number;
}

/** Bytes of one expert in each precision. */
export function precisionBytes(machine: Machine, { lowBits }: OffloadOptions): CacheSlots {
  return {
    high: expertBytes(machine, bitsOf(machine.shape.weightDtype)),
    low: expertBytes(machine, lowBits),
  };
}

/** How a strategy divides a GPU's cache memory. @param keys experts of all layers that the GPU may want */
export function cacheSlots(
  machine: Machine,
  options: OffloadOptions,
  { precision }: OffloadStrategy,
  cacheBytes: number,
  keys: number,
): CacheSlots {
  const bytes = precisionBytes(machine, options);
  const forLow = precision === 'mixed' ? options.lowCacheShare * cacheBytes : 0;
  return {
    high: Math.min(keys, Math.floor((cacheBytes - forLow) / bytes.high)),
    low: Math.min(keys, Math.floor(forLow / bytes.low)),
  };
}

export interface OffloadMachineSpec {
  machine: Machine;
  options: OffloadOptions;
  strategy: OffloadStrategy;
  slots: CacheSlots;
  layers: number;
  seed: number | string;
}

/** What stands between the MoE parts of a step. */
export interface StepFrame {
  /** What every GPU computes before the MoE part of a layer. */
  leading(layer: number): LeadingSeconds;
  /** Seconds of the head, by GPU. */
  head: Float64Array;
}

/** What a strategy did in the steps since it was last reset; seconds are sums over GPUs, copies over layers. */
export interface OffloadTotals {
  gpuSeconds: number;
  /** Seconds that GPUs stood ready and waited for experts. */
  stalled: number;
  /** Seconds that the links to the GPUs carried loads. */
  linkBusy: number;
  /** Copies by class of their gate weight: skip, low, high. */
  classes: number[];
  /** Copies that low precision computed, and that nobody did. */
  lowCopies: number;
  skippedCopies: number;
  /** Bytes over the host links, and those of them that came from an SSD. */
  loadedBytes: number;
  ssdBytes: number;
}

function newTotals(): OffloadTotals {
  return {
    gpuSeconds: 0,
    stalled: 0,
    linkBusy: 0,
    classes: [0, 0, 0],
    lowCopies: 0,
    skippedCopies: 0,
    loadedBytes: 0,
    ssdBytes: 0,
  };
}

const NETWORK = 0;
const LINKS = 1;

/**
 * GPUs that hold a part of the experts and load the others when they are wanted, event by event: attention and the like,
 * dispatch, loads, experts, combine, layer after layer. The link to the host runs beside the computation, one load at a
 * time per GPU; loads go on when a step has ended. No launches, no host work: what remains is what runtime `ideal` has.
 */
export class OffloadMachine {
  totals = newTotals();

  private readonly tasks: LiveTasks;
  private readonly network: Network;
  private readonly links: PortFabric;
  private readonly loaders: ExpertLoader[];
  private readonly usages: Usage[];
  private readonly memories: HostMemory[];
  private readonly home: Int32Array;
  private readonly bytes: CacheSlots;
  private readonly cost: ExpertStageCost;
  private readonly lowCost: ExpertStageCost;
  private readonly ports: PortLoads;
  private readonly matrix: Float64Array;

  private readonly leadingTasks: number[];
  private readonly expertTasks: number[];
  private readonly headTasks: number[];
  private readonly loadTasks: number[];
  private readonly hostTasks: number[];
  private readonly dispatchTask: number;
  private readonly combineTask: number;
  private readonly dispatchTransfer: number;
  private readonly combineTransfer: number;
  private readonly kindOf: ((gpu: number) => void)[] = [];
  private readonly gpuOf: number[] = [];

  private step: RoutingStep | null = null;
  private frame: StepFrame | null = null;
  private prediction: Prediction | null = null;
  private layer = 0;
  /** Tasks of the current part of the layer that have not ended. */
  private left = 0;
  private isDone = false;
  /** Class of every choice, by layer. */
  private readonly classes: Int8Array[];
  /** Class that the layer wants of every expert, and the one that a prediction says. */
  private readonly wanted: Int8Array;
  private readonly guessed: Int8Array;
  private readonly copies: Int32Array;
  private readonly readySince: Float64Array;
  private readonly stageTime: Float64Array;
  private readonly loadSince: Float64Array;

  constructor(private readonly spec: OffloadMachineSpec) {
    const { machine, options, strategy, slots, layers, seed } = spec;
    const { cluster, shape } = machine;
    const { gpus, gpusPerNode, profile } = cluster;
    const { experts } = shape;
    const nodes = Math.ceil(gpus / gpusPerNode);
    this.home = contiguous(gpus, experts, bitsOf(shape.weightDtype)).home;
    this.bytes = precisionBytes(machine, options);
    this.cost = stageCost(findStage(profile, shape, 'fused', 'serving'), shape, experts / gpus);
    this.lowCost = {
      ...this.cost,
      weightSecondsPerExpert: (this.cost.weightSecondsPerExpert * this.bytes.low) / this.bytes.high,
    };
    this.ports = new PortLoads(gpus, gpusPerNode);
    this.matrix = new Float64Array(gpus * gpus);

    this.network = createNetwork(cluster);
    this.dispatchTransfer = this.network.declareExchange();
    this.combineTransfer = this.network.declareExchange();
    const hostLink = options.hostLink ?? profile.hostLink;
    const capacities = new Float64Array(gpus + nodes);
    capacities.fill(hostLink.bytesPerSecond, 0, gpus).fill(options.ssd?.bytesPerSecond ?? 1, gpus);
    this.links = new PortFabric(capacities);
    const tasks = (this.tasks = new LiveTasks([this.network.fabric, this.links]));

    const each = <T>(count: number, make: (i: number) => T) =>
      Array.from({ length: count }, (_, i) => make(i));
    const added = (task: number, gpu: number, onEnd: (gpu: number) => void) => {
      this.gpuOf[task] = gpu;
      this.kindOf[task] = onEnd;
      return task;
    };
    const compute = each(gpus, () => tasks.addStream());
    const link = each(gpus, () => tasks.addStream());
    const host = each(nodes, () => tasks.addStream());
    const exchange = tasks.addStream();
    this.leadingTasks = compute.map((stream, gpu) => added(tasks.addTask(stream), gpu, () => this.onLed()));
    this.expertTasks = compute.map((stream, gpu) =>
      added(tasks.addTask(stream), gpu, () => this.onComputed()),
    );
    this.headTasks = compute.map((stream, gpu) => added(tasks.addTask(stream), gpu, () => this.onHead()));
    this.loadTasks = link.map((stream, gpu) =>
      added(tasks.addTask(stream, { fabric: LINKS, transfer: this.links.declare(2) }), gpu, (at) =>
        this.onLoaded(at),
      ),
    );
    this.hostTasks = each(experts, (expert) => {
      const node = Math.floor(this.home[expert] / gpusPerNode);
      return added(tasks.addTask(host[node]), this.home[expert], () => this.onComputed());
    });
    const sends = (transfer: number) => tasks.addTask(exchange, { fabric: NETWORK, transfer });
    this.dispatchTask = added(sends(this.dispatchTransfer), 0, () => this.onDispatched());
    this.combineTask = added(sends(this.combineTransfer), 0, () => this.onCombined());

    const limit = options.hostMemoryBytes ?? Infinity;
    this.memories = each(nodes, () => new HostMemory(limit));
    this.usages = each(gpus, () => new Usage(layers, experts));
    this.loaders = each(
      gpus,
      (gpu) =>
        new ExpertLoader({
          slots,
          keys: layers * experts,
          usage: this.usages[gpu],
          weights: evictionWeights(strategy.evict),
          random: randomStream(seed, `evictions/${gpu}`),
          highServesLow: options.highServesLow,
          loadsMisses: strategy.miss === 'load',
          send: (key, precision) => this.send(gpu, key, precision),
        }),
    );
    this.classes = each(layers, () => new Int8Array(0));
    this.wanted = new Int8Array(experts);
    this.guessed = new Int8Array(experts);
    this.copies = new Int32Array(experts);
    this.readySince = new Float64Array(gpus);
    this.stageTime = new Float64Array(gpus);
    this.loadSince = new Float64Array(gpus);
  }

  /** What caches and links did since the last reset, by GPU. */
  get counts(): readonly LoadCounts[] {
    return this.loaders.map(({ counts }) => counts);
  }

  /** Forgets what was counted; caches, clocks and loads stay as they are. */
  resetTotals(): void {
    this.totals = newTotals();
    for (const loader of this.loaders) loader.resetCounts();
  }

  /**
   * Runs a step.
   * @param opens whether its tokens are the first of their sequences
   * @param prediction of this step's layers; null where nobody prefetches
   * @returns seconds
   */
  run(step: RoutingStep, opens: boolean, prediction: Prediction | null, frame: StepFrame): number {
    const { tasks, totals } = this;
    this.step = step;
    this.frame = frame;
    this.prediction = prediction;
    this.classify(step.layers);
    for (const usage of this.usages) usage.startToken(opens);
    const from = tasks.now;
    this.isDone = false;
    this.startLayer(0);
    while (!this.isDone) {
      if (!tasks.advance((task) => this.kindOf[task](this.gpuOf[task]))) {
        throw new Error('a step stands still: something that it waits for never comes');
      }
    }
    const seconds = tasks.now - from;
    totals.gpuSeconds += seconds * this.loaders.length;
    return seconds;
  }

  private classify(layers: readonly LayerBatch[]): void {
    const { options, strategy } = this.spec;
    const own = new Int8Array(layers[0].tokens!.topK);
    layers.forEach(({ tokens }, layer) => {
      const { count, topK, weights } = tokens!;
      if (this.classes[layer].length !== count * topK) this.classes[layer] = new Int8Array(count * topK);
      const classes = this.classes[layer];
      if (strategy.precision === 'high') {
        classes.fill(HIGH);
        this.totals.classes[HIGH] += classes.length;
        return;
      }
      for (let at = 0; at < classes.length; at += topK) {
        gateClasses(weights!, at, topK, options.highUpTo, options.lowUpTo, own);
        classes.set(own, at);
        for (const chosen of own) this.totals.classes[chosen]++;
      }
    });
  }

  private startLayer(layer: number): void {
    this.layer = layer;
    const { dense, attention, shared } = this.frame!.leading(layer);
    this.left = this.leadingTasks.length;
    this.leadingTasks.forEach((task, gpu) =>
      this.tasks.launch(task, dense[gpu] + attention[gpu] + shared[gpu]),
    );
  }

  private onLed(): void {
    if (--this.left > 0) return;
    this.countWants();
    if (this.loaders.length === 1) this.onDispatched();
    else {
      this.fillExchanges();
      this.tasks.launch(this.dispatchTask);
    }
  }

  /** Classes that the layer wants, expert by expert: the highest of all its copies. */
  private countWants(): void {
    const { wanted, copies, layer } = this;
    const { tokens } = this.step!.layers[layer];
    const { experts } = tokens!;
    const classes = this.classes[layer];
    wanted.fill(NOBODY);
    copies.fill(0);
    for (let copy = 0; copy < classes.length; copy++) {
      const expert = experts[copy];
      copies[expert]++;
      if (classes[copy] > wanted[expert]) wanted[expert] = classes[copy];
    }
  }

  private fillExchanges(): void {
    const { matrix, ports, network, home } = this;
    const { counts } = this.step!.layers[this.layer];
    const { machine } = this.spec;
    const gpus = this.loaders.length;
    const experts = home.length;
    matrix.fill(0);
    for (let source = 0; source < gpus; source++) {
      for (let expert = 0; expert < experts; expert++) {
        matrix[source * gpus + home[expert]] += counts[source * experts + expert];
      }
    }
    const exchange = { copies: matrix, ports: ports.count(matrix) };
    network.setExchange(this.dispatchTransfer, exchange, dispatchBytes(machine), false);
    network.setExchange(this.combineTransfer, exchange, combineBytes(machine), true);
  }

  /** Every GPU has the copies for its experts: what it lacks of them is loaded, and what is foreseen after that. */
  private onDispatched(): void {
    this.left = this.loaders.length;
    this.loaders.forEach((loader, gpu) => {
      this.request(loader, gpu);
      if (loader.waiting === 0) this.tasks.launch(this.expertTasks[gpu], this.stageTime[gpu]);
      else this.readySince[gpu] = this.tasks.now;
      loader.pump();
    });
  }

  private request(loader: ExpertLoader, gpu: number): void {
    const { home, wanted, copies, totals, layer, spec } = this;
    const experts = home.length;
    const first = layer * experts;
    loader.startLayer(layer);
    for (let expert = 0; expert < experts; expert++) {
      if (home[expert] === gpu && wanted[expert] !== NOBODY) loader.keep(first + expert);
    }
    const group = { high: newGroup(), low: newGroup() };
    for (let expert = 0; expert < experts; expert++) {
      if (home[expert] !== gpu || wanted[expert] === NOBODY) continue;
      const granted = loader.want(first + expert, wanted[expert]);
      const rows = copies[expert];
      if (granted === SKIP) {
        if (wanted[expert] === SKIP) totals.skippedCopies += rows;
        else this.launchOnHost(expert, wanted[expert]);
        continue;
      }
      const { rowRounding } = this.cost;
      const into = granted === HIGH ? group.high : group.low;
      into.active++;
      into.rows += rows;
      into.rounded += Math.ceil(rows / rowRounding) * rowRounding;
    }
    totals.lowCopies += group.low.rows;
    const slots = experts / this.loaders.length;
    this.stageTime[gpu] =
      stageSeconds(this.cost, group.high.rounded, group.high.active, group.high.rows, slots) +
      stageSeconds(this.lowCost, group.low.rounded, group.low.active, group.low.rows, slots);
    if (spec.strategy.prefetchLayers > 0) this.foresee(loader, gpu);
  }

  private launchOnHost(expert: number, wanted: number): void {
    const { options } = this.spec;
    const share = wanted === HIGH ? 1 : this.bytes.low / this.bytes.high;
    if (wanted === LOW) this.totals.lowCopies += this.copies[expert];
    this.left++;
    this.tasks.launch(this.hostTasks[expert], options.cpuSecondsPerExpert! * share);
  }

  /** Looks for the next layer of which not all predicted experts are there, and loads what it lacks. */
  private foresee(loader: ExpertLoader, gpu: number): void {
    const { home, guessed, layer } = this;
    const { layers, strategy } = this.spec;
    const last = Math.min(layer + strategy.prefetchLayers, layers - 1);
    for (let ahead = layer + 1; ahead <= last; ahead++) {
      const experts = this.prediction!.of(ahead, ahead - layer);
      const classes = this.classes[ahead];
      guessed.fill(NOBODY);
      for (let copy = 0; copy < classes.length; copy++) {
        if (classes[copy] > guessed[experts[copy]]) guessed[experts[copy]] = classes[copy];
      }
      let isComplete = true;
      for (let expert = 0; expert < home.length; expert++) {
        if (home[expert] !== gpu || guessed[expert] <= SKIP) continue;
        const key = ahead * home.length + expert;
        if (loader.expects(key, guessed[expert])) continue;
        isComplete = false;
        loader.prefetch(key, guessed[expert]);
      }
      if (!isComplete) return;
    }
  }

  private send(gpu: number, key: number, precision: number): void {
    const { options, machine } = this.spec;
    const { gpus, gpusPerNode, profile } = machine.cluster;
    const bytes = precision === HIGH ? this.bytes.high : this.bytes.low;
    const node = Math.floor(gpu / gpusPerNode);
    const { latencySeconds } = options.hostLink ?? profile.hostLink;
    const { links, totals, loadTasks } = this;
    // A GPU's only load has the number of the GPU.
    links.clear(gpu);
    links.add(gpu, gpu, bytes, 1, latencySeconds);
    totals.loadedBytes += bytes;
    if (!this.memories[node].use(precision * this.spec.layers * this.home.length + key, bytes)) {
      links.add(gpu, gpus + node, bytes, 1, options.ssd!.latencySeconds);
      totals.ssdBytes += bytes;
    }
    this.loadSince[gpu] = this.tasks.now;
    this.tasks.launch(loadTasks[gpu]);
  }

  private onLoaded(gpu: number): void {
    const loader = this.loaders[gpu];
    this.totals.linkBusy += this.tasks.now - this.loadSince[gpu];
    if (loader.arrive()) {
      this.totals.stalled += this.tasks.now - this.readySince[gpu];
      this.tasks.launch(this.expertTasks[gpu], this.stageTime[gpu]);
    }
    loader.pump();
  }

  private onComputed(): void {
    if (--this.left > 0) return;
    if (this.loaders.length === 1) this.onCombined();
    else this.tasks.launch(this.combineTask);
  }

  private onCombined(): void {
    if (this.layer + 1 < this.spec.layers) {
      this.startLayer(this.layer + 1);
      return;
    }
    this.left = this.headTasks.length;
    this.headTasks.forEach((task, gpu) => this.tasks.launch(task, this.frame!.head[gpu]));
  }

  private onHead(): void {
    if (--this.left === 0) this.isDone = true;
  }
}

function newGroup(): { active: number; rows: number; rounded: number } {
  return { active: 0, rows: 0, rounded: 0 };
}
