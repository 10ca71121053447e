import { Executor, TaskGraphBuilder } from '../../engine/index.js';
import {
  bitsOf,
  expertWeights,
  exchangeSeconds,
  type ExchangeCost,
  type Network,
  type PortLoads,
} from '../../hardware/index.js';
import { BackgroundMovement } from '../background-movement.js';
import { LeadingWork, type LeadingSeconds } from '../leading-work.js';
import { ExpertTimer, type Machine } from '../machine.js';
import { accountOf, expertBytes, type MemoryCategory } from '../memory.js';
import { labelOf, type Phase } from '../phases.js';
import type { RowLayout, RowsOfGpu } from '../row-layout.js';
import type { LayerInput, LayerPart, LayerProgram, ProgramContext, Rendezvous } from '../runtime.js';
import type { Traffic, TrafficInput } from '../traffic/index.js';
import { uniformExchange } from '../uniform-exchange.js';
import { WeightMessages } from '../weight-messages.js';
import { GroupExchange } from './group-exchange.js';
import { capturedTokens, launchSeconds, planSeconds, type ServingHost } from './serving-host.js';

/** Bytes of an expert's count, an int32. */
const COUNT_BYTES = 4;
/** Bytes of a router's logit, fp32. */
const LOGIT_BYTES = 4;
/** Hidden states and results travel and lie in 16 bits wherever they are not quantised. */
const HIDDEN_BYTES = 2;

/** One direction of the exchange. */
export interface ServingExchange {
  /** Bytes of a message. */
  bytes: number;
  /** null: the profile's links. */
  cost: ExchangeCost | null;
}

/** What a GPU holds in one layer, for the sizes of its buffers. */
export interface ServingLoad extends RowsOfGpu {
  /** Tokens (or copies, where each travels by itself) that it receives. */
  received: number;
}

/** Bytes of a GPU's buffers besides the layer's input and output. */
export interface ServingBuffers {
  /** What the dispatch writes; until the experts are done. */
  received(load: ServingLoad): number;
  /** Between the experts' products. */
  intermediates(load: ServingLoad): number;
  /** What the combine sends. */
  results(load: ServingLoad): number;
}

/** What runs while messages travel: nothing; the shared experts; the other half of the batch. */

export type Overlap = 'none' | 'shared-expert' | 'two-batch';

/** How a serving engine runs the layer. */
export interface ServingCosts {
  /** @returns a counter for one part of a batch */
  traffic: () => Traffic;
  dispatch: ServingExchange;
  combine: ServingExchange;
  layout: RowLayout;
  /** GPUs that share every expert, each with a slice of its hidden width. */
  expertTensorParallel: number;
  /** GPUs that share a token's attention: its output is summed, and the layer's output gathered, among them. */
  attentionTensorParallel: number;
  /** What enters the kernels of the experts: every row by itself, or tokens with all their choices. */
  entering: 'rows' | 'tokens';
  /**
   * Whether every GPU knows all counts once tokens have arrived, so that policies that plan each batch plan then and
   * nothing is exchanged for them; else they exchange counts and plan before the dispatch.
   */
  plansOnArrival: boolean;
  /** Whether tokens that only fill a captured batch travel too. */
  sendsPadding: boolean;
  /** Rows that one slot can get at most. */
  mostRowsPerSlot: number;
  buffers: ServingBuffers;
  host: ServingHost;
  /** Whether a kernel of its own quantises hidden states before the dispatch. */
  quantises: boolean;
  overlap: Overlap;
  /** What a kernel takes while messages travel, over what it takes alone. */
  slowdown: number;
}

/** Tasks, transfers and buffers by GPU of a batch, or of one half of it, up to its dispatch. */
interface Begun {
  traffic: Traffic;
  leading: LeadingWork;
  /** The sum of attention's outputs within a group; −1 where a GPU has tokens of its own. */
  summed: number;
  front: number[];
  route: number[];
  planning: Planning | null;
  /** Reads that the host blocks on before the dispatch; null: none. */
  reads: number[] | null;
  shared: number[];
  dispatch: { task: number; transfer: number };
  activations: number[];
  received: number[];
}

/** What a policy adds that plans from the counts of the whole batch. */
interface Planning {
  /** Counting copies, and the exchange of counts; null and −1 where tokens bring them. */
  count: number[] | null;
  transfer: number;
  plan: number[];
}

/** A whole part. */
interface Part extends Begun {
  back: number[];
  experts: number[];
  combine: number;
  /** The gathering of outputs within a group; −1 without. */
  gathered: number;
  intermediates: number[];
  results: number[];
  /** Tokens by source GPU with those that only fill a captured batch. */
  padded: Float64Array;
  /** What its dispatch sends, in messages. */
  matrix: Float64Array;
  /** Whether its kernels are launched one by one. */
  eager: boolean;
}

/** Weights that travel into every GPU within the step. */
interface Borrowing {
  task: number[];
  transfer: number[];
  buffer: number[];
}

/** Builds the graph of one layer of a serving engine, task by task in launch order. */
export class ServingLayer {
  private readonly graph = new TaskGraphBuilder();
  private readonly gpus: number;
  private readonly host: number[];
  private readonly compute: number[];
  private readonly exchange: number[];
  private readonly rendezvous: Rendezvous[] = [];

  constructor(
    private readonly costs: ServingCosts,
    private readonly machine: Machine,
    private readonly context: ProgramContext,
  ) {
    this.gpus = machine.cluster.gpus;
    this.host = this.each((gpu) => this.graph.addStream(gpu, 'host'));
    this.compute = this.each((gpu) => this.graph.addStream(gpu, 'compute'));
    this.exchange = this.each((gpu) => this.graph.addStream(gpu, 'network'));
  }

  program(): LayerProgram {
    const { graph, costs, machine, gpus } = this;
    const { network, ledger, traits } = this.context;
    const { cluster, shape } = machine;
    const count = costs.overlap === 'two-batch' ? 2 : 1;
    const begun = Array.from({ length: count }, () => this.begin());
    const borrowing = traits.movesWeights ? this.addWeights(begun[0]) : null;
    const parts = begun.map((part, p) => this.finish(part, borrowing, p === count - 1));
    const background = traits.movesInBackground ? new BackgroundMovement(graph, machine, network) : null;
    const executor = new Executor(graph.compile(), network.fabric, ledger);
    const weightBytes = expertBytes(machine, bitsOf(shape.weightDtype));
    const messages = new WeightMessages(shape.experts + gpus, expertWeights(shape), true);
    const filler = new ServingFiller(costs, machine, traits.plansEachBatch, executor, network, parts);
    const everyone = uniformExchange(gpus, cluster.gpusPerNode);
    for (const { planning } of parts) {
      if (planning && planning.transfer >= 0)
        network.setExchange(planning.transfer, everyone, shape.experts * COUNT_BYTES, false);
    }
    const exchanges = parts.filter(({ planning }) => planning?.count).length;

    return {
      executor,
      rowRounding: filler.timer.rowRounding,
      kernel: filler.timer.kernel,
      compute: this.compute,
      rendezvous: this.rendezvous,
      metadataBytes: exchanges * everyone.ports.total * shape.experts * COUNT_BYTES,
      parts: count,
      weightTransfers: () => messages.count,
      weightBytes: () => messages.total + (background?.bytes ?? 0),
      messages: (input, part = 0) => filler.messages(parts[part], input),
      fill(input): void {
        const { plan, work } = input;
        background?.fill(plan.background, executor.duration);
        if (borrowing) {
          messages.take(plan);
          for (let gpu = 0; gpu < gpus; gpu++) {
            network.setMessages(borrowing.transfer[gpu], messages, gpu);
            const borrowed = Math.max(
              work.borrowedWeights[gpu],
              input.halves?.[1].work.borrowedWeights[gpu] ?? 0,
            );
            executor.bufferBytes[borrowing.buffer[gpu]] = Math.ceil(borrowed * weightBytes);
          }
        }
        filler.fill(input, borrowing && messages);
      },
    };
  }

  /** Router, plan and dispatch. */
  private begin(): Begun {
    const { graph, costs, context } = this;
    const { network, traits, leads } = context;
    const { host, overlap } = costs;
    const leading = new LeadingWork(graph, this.compute, leads);
    const front = this.onEach('host', this.host, () => ({}));
    const activations = this.buffers('activations');
    const summed = costs.attentionTensorParallel > 1 ? network.declareExchange() : -1;
    const own =
      summed < 0
        ? []
        : [this.collective('attention-exchange', { after: [...leading.tasks], transfer: summed })];
    const route = this.onEach('route', this.compute, (gpu) => ({
      after: [front[gpu], ...own],
      allocates: [activations[gpu]],
    }));
    let planning = traits.plansEachBatch && !costs.plansOnArrival ? this.addPlan() : null;
    const beside = overlap !== 'none';
    let shared = beside ? [] : this.onEach('shared', this.compute, () => ({}));
    let ready = [...(beside ? route : shared), ...(planning?.plan ?? [])];
    let reads: number[] | null = null;
    if (host.blockingRead) {
      // Every GPU's host waits until all GPUs have said how much they send.
      const told = this.collective('exchange-counts', { after: ready });
      this.meet(told, planning?.plan ?? (beside ? route : shared), 'source');
      ready = reads = this.onEach('host', this.host, () => ({ after: [told] }));
    }
    const transfer = network.declareExchange();
    const received = this.buffers('dispatchBuffers');
    const task = this.collective('dispatch', { after: ready, transfer, allocates: received });
    this.meet(task, reads ?? planning?.plan ?? (beside ? route : shared), 'source');
    if (traits.plansEachBatch && costs.plansOnArrival) planning = this.planOn(task);
    if (beside) shared = this.onEach('shared', this.compute, () => ({}));
    return {
      traffic: costs.traffic(),
      leading,
      summed,
      front,
      route,
      planning,
      reads,
      shared,
      dispatch: { task, transfer },
      activations,
      received,
    };
  }

  /** Counts of the whole batch to every GPU, and a plan made of them on each. */
  private addPlan(): Planning {
    const { context } = this;
    const count = this.onEach('count', this.compute, () => ({}));
    const transfer = context.network.declareExchange();
    const told = this.collective('exchange-counts', { after: count, transfer });
    this.meet(told, count, 'source');
    return { count, transfer, plan: this.planOn(told).plan };
  }

  /** A plan on every GPU once a task has told it the counts. */
  private planOn(told: number): Planning {
    const { graph, costs } = this;
    const planners =
      costs.host.planner === 'host' ? this.host : this.each((gpu) => graph.addStream(gpu, 'planner'));
    return { count: null, transfer: -1, plan: this.onEach('plan', planners, () => ({ after: [told] })) };
  }

  private addWeights({ planning, route }: Begun): Borrowing {
    const { graph, gpus, context, machine } = this;
    const transfer = this.each(() => context.network.declareMessages(machine.shape.experts + gpus));
    const buffer = this.buffers('borrowedWeights');
    const streams = this.each((gpu) => graph.addStream(gpu, 'weights'));
    const task = this.onEach('weights', streams, (gpu) => ({
      after: planning?.plan ?? route,
      transfer: transfer[gpu],
      allocates: [buffer[gpu]],
    }));
    return { task, transfer, buffer };
  }

  /** Experts and combine. */
  private finish(begun: Begun, borrowing: Borrowing | null, last: boolean): Part {
    const { context, gpus } = this;
    const back = this.onEach('host', this.host, () => ({}));
    const intermediates = this.buffers('intermediates');
    const results = this.buffers('combineBuffers');
    const experts = this.onEach('experts', this.compute, (gpu) => ({
      after: [
        begun.dispatch.task,
        back[gpu],
        ...(begun.planning ? [begun.planning.plan[gpu]] : []),
        ...(borrowing ? [borrowing.task[gpu]] : []),
      ],
      allocates: [intermediates[gpu], results[gpu]],
      reads: [begun.received[gpu], intermediates[gpu], ...(borrowing && last ? [borrowing.buffer[gpu]] : [])],
    }));
    const combine = context.network.declareExchange();
    const gathered = begun.summed < 0 ? -1 : context.network.declareExchange();
    const task = this.collective('combine', {
      after: experts,
      transfer: combine,
      reads: gathered < 0 ? [...begun.activations, ...results] : results,
    });
    this.meet(task, experts, 'experts');
    if (gathered >= 0) {
      const reads = begun.activations;
      this.collective('attention-exchange', { after: [task], transfer: gathered, reads });
    }
    return {
      ...begun,
      back,
      experts,
      combine,
      gathered,
      intermediates,
      results,
      padded: new Float64Array(gpus),
      matrix: new Float64Array(0),
      eager: true,
    };
  }

  private meet(task: number, arrivals: readonly number[], lateBy: Rendezvous['lateBy']): void {
    this.rendezvous.push({ task, arrivals, lateBy });
  }

  private each<T>(make: (gpu: number) => T): T[] {
    return Array.from({ length: this.gpus }, (_, gpu) => make(gpu));
  }

  private buffers(category: MemoryCategory): number[] {
    return this.each((gpu) => this.graph.addBuffer(accountOf(gpu, category)));
  }

  /** One task per GPU on a stream of its own. */
  private onEach(
    phase: Phase,
    streams: number[],
    spec: (gpu: number) => { after?: number[]; transfer?: number; allocates?: number[]; reads?: number[] },
  ): number[] {
    return this.each((gpu) =>
      this.graph.addTask({ ...spec(gpu), streams: [streams[gpu]], label: labelOf(phase) }),
    );
  }

  private collective(
    phase: Phase,
    spec: { after: number[]; transfer?: number; allocates?: number[]; reads?: number[] },
  ): number {
    return this.graph.addTask({ ...spec, streams: this.exchange, label: labelOf(phase) });
  }
}

/** Seconds by GPU of what a part begins with. */
type Leading = Record<keyof LeadingSeconds, Float64Array>;

/** Writes durations, transfers and sizes of buffers of a batch, or of its two halves. */
class ServingFiller {
  readonly timer: ExpertTimer;
  private readonly load: ServingLoad = { received: 0, rows: 0, rounded: 0, largest: 0, most: 0 };
  private readonly leading: Leading[];
  private readonly routerFlops: number;
  private readonly sharing: GroupExchange;
  /** Seconds for which messages still travel beside the kernels at hand. */
  private window = 0;

  constructor(
    private readonly costs: ServingCosts,
    private readonly machine: Machine,
    private readonly plans: boolean,
    private readonly executor: Executor,
    private readonly network: Network,
    private readonly parts: readonly Part[],
  ) {
    const { gpus } = machine.cluster;
    this.timer = new ExpertTimer(machine, costs.layout, 'serving', costs.expertTensorParallel);
    this.sharing = new GroupExchange(machine.cluster, costs.attentionTensorParallel);
    const zeros = () => new Float64Array(gpus);
    this.leading = parts.map(() => ({ dense: zeros(), attention: zeros(), shared: zeros() }));
    const { computeDtype, flopPerSecond } = this.timer.kernel.stage;
    // Routers are products in 16 bits, at half the rate of those in 8.
    this.routerFlops = computeDtype === 'fp8' ? flopPerSecond / 2 : flopPerSecond;
  }

  /** What a part's dispatch sends; keeps it for `fill`. */
  messages(part: Part, input: TrafficInput): Float64Array {
    const { host, sendsPadding } = this.costs;
    const { tokensBySource } = input;
    const filled = capturedTokens(host, this.plans, tokensBySource);
    part.eager = filled === null;
    for (let gpu = 0; gpu < part.padded.length; gpu++) part.padded[gpu] = filled ?? tokensBySource[gpu];
    const sent = sendsPadding ? { ...input, tokensBySource: part.padded } : input;
    return (part.matrix = part.traffic.messages(sent));
  }

  fill(input: LayerInput, messages: WeightMessages | null): void {
    const { parts, costs, machine, timer } = this;
    const { gpus, profile } = machine.cluster;
    const inputs = input.halves ?? [input];
    const { dispatch, combine } = costs;
    timer.usePlacement(input.plan.placement);
    parts.forEach((part, p) => this.fillExchanges(part, inputs[p].ports));
    const there = inputs.map(({ ports }) => exchangeSeconds(profile, dispatch.cost, ports, dispatch.bytes));
    const back = inputs.map(({ ports }) => exchangeSeconds(profile, combine.cost, ports, combine.bytes));
    for (let gpu = 0; gpu < gpus; gpu++) {
      this.window = 0;
      for (let p = 0; p < parts.length; p++) {
        this.fillFront(p, inputs[p], gpu, input, messages);
        if (costs.overlap !== 'none') this.window += there[p];
        this.fillShared(parts[p], inputs[p], gpu, input.leading);
      }
      for (let p = 0; p < parts.length; p++) {
        // The first half's experts run beside the second's dispatch, the second's beside the first's combine.
        this.window = parts.length === 1 ? 0 : p === 0 ? there[1] : back[0];
        this.fillBack(parts[p], inputs[p], gpu);
      }
    }
    parts.forEach((part, p) => {
      part.leading.fill(input.leading === null ? null : this.leading[p], this.executor.duration);
    });
  }

  private fillExchanges(part: Part, ports: PortLoads): void {
    const { network } = this;
    const { dispatch, combine } = this.costs;
    const sent = { copies: part.matrix, ports };
    network.setExchange(part.dispatch.transfer, sent, dispatch.bytes, false, dispatch.cost);
    network.setExchange(part.combine, sent, combine.bytes, true, combine.cost);
    if (part.summed < 0) return;
    const shared = this.sharing.count(part.padded);
    const bytes = HIDDEN_BYTES * this.machine.shape.hiddenSize;
    network.setExchange(part.summed, shared, bytes, true);
    network.setExchange(part.gathered, shared, bytes, false);
  }

  /** Attention, router, plan and what the host does until the dispatch. */
  private fillFront(
    p: number,
    { plan, tokensBySource }: LayerPart,
    gpu: number,
    { leading, heldTokens }: LayerInput,
    messages: WeightMessages | null,
  ): void {
    const { costs, executor, machine, parts } = this;
    const { duration, bufferBytes } = executor;
    const { shape, cluster } = machine;
    const { profile } = cluster;
    const { host } = costs;
    const part = parts[p];
    if (leading !== null) {
      // Half of the tokens take half of the time.
      const own = this.leading[p];
      own.dense[gpu] = this.slowed(leading.dense[gpu] / parts.length);
      own.attention[gpu] = this.slowed(leading.attention[gpu] / parts.length);
    }
    const launch = part.eager ? launchSeconds(host, profile) : 0;
    duration[part.front[gpu]] = host.frontKernels * launch;
    duration[part.back[gpu]] = host.backKernels * launch;
    duration[part.route[gpu]] = this.slowed(this.routeSeconds(part.padded[gpu]));
    const held = this.sharing.tokensOf(heldTokens ?? tokensBySource, gpu) / (heldTokens ? parts.length : 1);
    bufferBytes[part.activations[gpu]] = Math.ceil(2 * held * shape.hiddenSize * HIDDEN_BYTES);
    if (part.planning) {
      const posts = messages === null || plan.gated ? 0 : messages.ofGpu(gpu);
      if (part.planning.count) {
        duration[part.planning.count[gpu]] =
          (tokensBySource[gpu] * shape.topK * COUNT_BYTES) / profile.copyBytesPerSecond;
      }
      duration[part.planning.plan[gpu]] = planSeconds(host, profile, plan.gated, posts);
    }
    if (part.reads) duration[part.reads[gpu]] = profile.hostSyncSeconds + launch;
  }

  /** Router, top-k and quantising: memory traffic and a product, and what a small kernel takes anyway. */
  private routeSeconds(tokens: number): number {
    const { costs, machine } = this;
    const { hiddenSize, experts, activationDtype } = machine.shape;
    const { copyBytesPerSecond } = machine.cluster.profile;
    const moved = HIDDEN_BYTES * hiddenSize * (experts + tokens) + 2 * LOGIT_BYTES * tokens * experts;
    const product = (2 * tokens * hiddenSize * experts) / this.routerFlops;
    const router = Math.max(product, moved / copyBytesPerSecond);
    const quantised = HIDDEN_BYTES + bitsOf(activationDtype) / 8;
    const quantise = costs.quantises ? (tokens * hiddenSize * quantised) / copyBytesPerSecond : 0;
    const kernels = costs.quantises ? 3 : 2;
    return kernels * costs.host.smallKernelSeconds + router + quantise;
  }

  private fillShared(
    part: Part,
    { plan, tokensBySource }: LayerPart,
    gpu: number,
    leading: LeadingSeconds | null,
  ): void {
    // Where the plan says who computes them, they are among the experts.
    const alone = plan.shared
      ? 0
      : leading === null
        ? this.timer.sharedSeconds(tokensBySource[gpu])
        : leading.shared[gpu] / this.parts.length;
    this.executor.duration[part.shared[gpu]] = this.slowed(alone);
  }

  private fillBack(part: Part, { plan, work }: LayerPart, gpu: number): void {
    const { costs, load, executor } = this;
    const { firstSlot } = plan.placement;
    const received = part.traffic.received[gpu];
    const entering = costs.entering === 'tokens' ? received : undefined;
    executor.duration[part.experts[gpu]] = this.slowed(this.timer.seconds(work, gpu, entering));
    load.received = received;
    load.rows = work.rowsOn(gpu);
    load.rounded = work.roundedRowsOn(gpu);
    load.largest = work.largestExpert[gpu];
    load.most = (firstSlot[gpu + 1] - firstSlot[gpu] + work.borrowed[gpu]) * costs.mostRowsPerSlot;
    const { bufferBytes } = executor;
    bufferBytes[part.received[gpu]] = Math.ceil(costs.buffers.received(load));
    bufferBytes[part.intermediates[gpu]] = Math.ceil(costs.buffers.intermediates(load));
    bufferBytes[part.results[gpu]] = Math.ceil(costs.buffers.results(load));
  }

  /** Seconds of a kernel of which some, or all, runs while messages travel. */
  private slowed(seconds: number): number {
    const { slowdown } = this.costs;
    const beside = Math.min(seconds * slowdown, this.window);
    this.window -= beside;
    return seconds + beside * (1 - 1 / slowdown);
  }
}
