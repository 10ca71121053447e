import type { PolicyTraits } from '../../balancing/index.js';
import type { Executor } from '../../engine/index.js';
import {
  dataGradientSeconds,
  stageSeconds,
  weightGradientSeconds,
  type GradientStageCost,
  type Network,
} from '../../hardware/index.js';
import { GradientMessages } from '../gradient-messages.js';
import type { LayerAmounts } from '../layer-amounts.js';
import type { Machine } from '../machine.js';
import type { Rendezvous } from '../runtime.js';
import { ringShares, type GradientBytes, type Recompute, type TrainingOptions } from '../training.js';
import {
  categoryOf,
  ELEMENT_BYTES,
  MegatronForward,
  MegatronSizes,
  normSeconds,
  routerSeconds,
  SAVED,
  type MegatronCosts,
  type Saved,
  type SavedBuffers,
} from './megatron-forward.js';
import type { MegatronGraph } from './megatron-graph.js';

/** Elements of H that computing the activation again moves: reads 2H, writes H. */
const ACTIVATION_WIDTHS = 3;
/** Times that the backward pass of a norm moves the tokens: gradient and input read, gradient written, twice. */
const NORM_GRADIENT_TIMES = 4;

/** What a backward layer is built for. */
export interface BackwardSetting {
  machine: Machine;
  network: Network;
  traits: PolicyTraits;
  costs: MegatronCosts;
  training: TrainingOptions;
  cost: GradientStageCost;
  /** Buffers of tensors that the forward pass kept. */
  given: SavedBuffers;
  /** Bytes of an expert's gradients where they are added up, and on their way there. */
  ownGradient: number;
  sentGradient: number;
}

/** Whether a recompute choice runs the layer's forward pass again. */
function runsAgain(recompute: Recompute): boolean {
  return recompute === 'moe' || recompute === 'full';
}

/**
 * Tasks of one backward layer: what is recomputed; gradients of the outputs to the experts; the gradients of the
 * data and of the weights; gradients of the inputs home; the router. Beside what follows, gradients of borrowed
 * weights, and with the last micro-batch those of replicas, go to the experts' homes, are added there, and are reduced
 * over the expert-data-parallel group.
 */
export class MegatronBackward {
  readonly rendezvous: Rendezvous[];
  private readonly sizes: MegatronSizes;
  private readonly again: MegatronForward | null = null;
  /** Tensors that are made again here. */
  private readonly remade: SavedBuffers = {};
  private readonly launch: number[];
  private readonly unpermute: number[];
  private readonly dispatchTransfer: number;
  private readonly sort: number[];
  private readonly activation: number[] | null;
  private readonly fetched: { transfer: number; task: number }[] | null = null;
  private readonly data: number[];
  private readonly weight: number[];
  private readonly unsort: number[];
  private readonly combineTransfer: number;
  private readonly permute: number[];
  private readonly router: number[];
  private readonly home: number[];
  private readonly accumulate: number[];
  private readonly reduction: number | null;

  private readonly outputGradient: number[];
  private readonly outputCopies: number[];
  private readonly received: number[];
  private readonly sorted: number[];
  private readonly between: number[];
  private readonly inputRows: number[];
  private readonly unsorted: number[];
  private readonly returned: number[];
  private readonly inputGradient: number[];
  private readonly lent: number[];
  private readonly incoming: number[];

  private readonly messages: GradientMessages;
  private readonly ringBytes: Float64Array;

  /** Adds its tasks to a graph, in launch order. */
  constructor(
    graph: MegatronGraph,
    private readonly setting: BackwardSetting,
  ) {
    const { machine, network, traits, costs, training, given } = setting;
    const { recompute, borrowedWeights, expertDataParallel } = training;
    const { gpus } = graph;
    const { experts } = machine.shape;
    this.sizes = new MegatronSizes(machine);
    this.messages = new GradientMessages(machine.cluster.gpus, experts);
    this.ringBytes = new Float64Array(gpus);
    const runAgain = runsAgain(recompute);
    const fetchesAgain = traits.movesWeights && borrowedWeights === 'fetch-again';

    this.outputGradient = graph.buffers('activations');
    this.outputCopies = graph.buffers('combineBuffers');
    this.received = graph.buffers('dispatchBuffers');
    this.sorted = graph.buffers('dispatchBuffers');
    this.between = graph.buffers('intermediates');
    this.inputRows = graph.buffers('combineBuffers');
    this.unsorted = graph.buffers('combineBuffers');
    this.returned = graph.buffers('combineBuffers');
    this.inputGradient = graph.buffers('activations');
    this.lent = graph.buffers('gradients');
    this.incoming = graph.buffers('gradients');
    for (const tensor of SAVED) {
      if (given[tensor] !== undefined || (tensor === 'borrowed' && !fetchesAgain)) continue;
      this.remade[tensor] = graph.buffers(categoryOf(tensor, true));
    }
    const saved = { ...this.remade, ...given };
    const made = (gpu: number, tensor: Saved) => this.remade[tensor]?.[gpu] ?? [];
    const ends = (gpu: number, ...tensors: Saved[]) =>
      tensors.flatMap((tensor) => saved[tensor]?.[gpu] ?? []);
    const onEach = graph.onEach.bind(graph, 'backward');

    if (runAgain) {
      this.again = new MegatronForward(graph, {
        pass: 'recompute',
        machine,
        network,
        traits,
        costs,
        saved,
        norm: recompute === 'full',
        fetches: fetchesAgain,
        allocates: this.outputGradient,
      });
    }
    this.launch = onEach('host', graph.host, () => ({}));
    this.unpermute = onEach('unpermute', graph.compute, (gpu) => ({
      after: [this.launch[gpu]],
      allocates: [...(runAgain ? [] : [this.outputGradient[gpu]]), this.outputCopies[gpu]],
      reads: [this.outputGradient[gpu]],
    }));
    this.dispatchTransfer = network.declareExchange();
    const dispatch = graph.collective('backward', 'dispatch', {
      after: this.unpermute,
      transfer: this.dispatchTransfer,
      allocates: this.received,
      reads: this.outputCopies,
    });
    if (fetchesAgain && !runAgain) {
      const transfers = graph.each(() => network.declareMessages(experts + gpus));
      const tasks = graph.messagesIntoEach('backward', 'weights', this.launch, (gpu) => ({
        transfer: transfers[gpu],
        allocates: [made(gpu, 'borrowed')].flat(),
      }));
      this.fetched = tasks.map((task, gpu) => ({ task, transfer: transfers[gpu] }));
    }
    this.sort = onEach('sort', graph.compute, (gpu) => ({
      after: [dispatch],
      allocates: [this.sorted[gpu]],
      reads: [this.received[gpu]],
    }));
    this.activation =
      recompute === 'activation'
        ? graph.onEach('recompute', 'activation', graph.compute, (gpu) => ({
            allocates: [made(gpu, 'activated')].flat(),
          }))
        : null;
    this.data = onEach('data-gradients', graph.compute, (gpu) => ({
      after: this.fetched ? [this.fetched[gpu].task] : [],
      allocates: [this.between[gpu], this.inputRows[gpu]],
      reads: ends(gpu, 'gateUp', 'borrowed'),
    }));
    const weightGradients = () =>
      onEach('weight-gradients', graph.compute, (gpu) => ({
        allocates: [this.lent[gpu]],
        reads: [this.sorted[gpu], this.between[gpu], ...ends(gpu, 'sorted', 'activated')],
      }));
    const early = costs.delayWeightGradients ? null : weightGradients();
    this.unsort = onEach('sort', graph.compute, (gpu) => ({
      allocates: [this.unsorted[gpu]],
      reads: [this.inputRows[gpu]],
    }));
    this.combineTransfer = network.declareExchange();
    const combine = graph.collective('backward', 'combine', {
      after: this.unsort,
      transfer: this.combineTransfer,
      allocates: this.returned,
      reads: this.unsorted,
    });
    this.weight = early ?? weightGradients();
    this.permute = onEach('permute', graph.compute, (gpu) => ({
      after: [combine],
      allocates: [this.inputGradient[gpu]],
      reads: [this.returned[gpu]],
    }));
    this.router = onEach('route', graph.compute, (gpu) => ({
      reads: [this.inputGradient[gpu], ...ends(gpu, 'routing', 'normed', 'residual')],
    }));

    this.home = graph.each(() => network.declareMessages(2 * experts + gpus));
    const sent = graph.messagesIntoEach('backward', 'gradients', this.weight, (gpu) => ({
      transfer: this.home[gpu],
      allocates: [this.incoming[gpu]],
    }));
    graph.builder.addTask({ streams: [], after: sent, reads: this.lent });
    this.accumulate = onEach('accumulate', graph.side, (gpu) => ({
      after: [sent[gpu]],
      reads: [this.incoming[gpu]],
    }));
    this.reduction = null;
    if (expertDataParallel > 1) {
      this.reduction = network.declareRings();
      graph.reduction('backward', 'gradients', {
        after: [...this.weight, ...this.accumulate],
        transfer: this.reduction,
      });
    }
    this.rendezvous = [
      ...(this.again?.rendezvous ?? []),
      { task: dispatch, arrivals: this.unpermute, lateBy: 'source' },
      { task: combine, arrivals: this.unsort, lateBy: 'experts' },
    ];
  }

  /**
   * @param last whether the gradients of a training step are complete with this micro-batch
   * @param bytes of gradients on the links, added to
   */
  fill(amounts: LayerAmounts, last: boolean, executor: Executor, bytes: GradientBytes): void {
    const { sizes, setting, messages, ringBytes } = this;
    const { machine, network, costs, training, cost, ownGradient, sentGradient } = setting;
    const { duration, bufferBytes } = executor;
    const { cluster, shape } = machine;
    const { profile } = cluster;
    const { token, gradientCopyBytes } = sizes;
    const { sent, rows, tokens, borrowed } = amounts;
    this.again?.fill(amounts, (gpu) => forwardSeconds(cost, amounts, gpu), executor);
    for (const tensor of SAVED) {
      this.remade[tensor]?.forEach(
        (buffer, gpu) => (bufferBytes[buffer] = sizes.saved(tensor, amounts, gpu)),
      );
    }
    network.setExchange(this.dispatchTransfer, sent, gradientCopyBytes.dispatch, false);
    network.setExchange(this.combineTransfer, sent, gradientCopyBytes.combine, true);
    messages.take(amounts, last, sentGradient);
    bytes.borrowed += messages.borrowedBytes;
    bytes.replicas += messages.replicaBytes;
    if (this.reduction !== null) {
      const share = last ? ringShares(training).gradients : 0;
      ringBytes.fill(0);
      for (const gpu of amounts.placement!.home) ringBytes[gpu] += share * ownGradient;
      for (const own of ringBytes) bytes.reduced += own;
      network.setRings(this.reduction, ringBytes);
    }
    const element = profile.copyBytesPerSecond / ELEMENT_BYTES;
    for (let gpu = 0; gpu < rows.length; gpu++) {
      const own = sent.ports.sentBy(gpu);
      const load = amounts.loadOn(gpu);
      duration[this.launch[gpu]] = costs.backwardLaunches * profile.kernelLaunchSeconds;
      duration[this.unpermute[gpu]] = (2 * own * token) / profile.gatherBytesPerSecond;
      duration[this.sort[gpu]] = (2 * rows[gpu] * token) / profile.gatherBytesPerSecond;
      if (this.activation) {
        duration[this.activation[gpu]] = (ACTIVATION_WIDTHS * rows[gpu] * shape.expertHiddenSize) / element;
      }
      duration[this.data[gpu]] = dataGradientSeconds(cost, load);
      duration[this.weight[gpu]] = weightGradientSeconds(cost, load, ownGradient, sentGradient);
      duration[this.unsort[gpu]] = duration[this.sort[gpu]];
      duration[this.permute[gpu]] = ((own + tokens[gpu]) * token) / profile.gatherBytesPerSecond;
      duration[this.router[gpu]] =
        routerSeconds(machine, tokens[gpu], 2) + normSeconds(machine, tokens[gpu], NORM_GRADIENT_TIMES);
      if (this.fetched) network.setMessages(this.fetched[gpu].transfer, amounts.messages, gpu);
      network.setMessages(this.home[gpu], messages, gpu);
      const arriving = messages.into(gpu);
      // What arrives is read, what is there is read and written.
      duration[this.accumulate[gpu]] =
        (arriving * (sentGradient + 2 * ownGradient)) / profile.copyBytesPerSecond;

      bufferBytes[this.outputGradient[gpu]] = bufferBytes[this.inputGradient[gpu]] = Math.ceil(
        tokens[gpu] * token,
      );
      bufferBytes[this.outputCopies[gpu]] = Math.ceil(own * token);
      bufferBytes[this.received[gpu]] = bufferBytes[this.sorted[gpu]] = Math.ceil(rows[gpu] * token);
      bufferBytes[this.between[gpu]] = Math.ceil(rows[gpu] * 3 * shape.expertHiddenSize * ELEMENT_BYTES);
      bufferBytes[this.inputRows[gpu]] = Math.ceil(rows[gpu] * token);
      bufferBytes[this.unsorted[gpu]] = Math.ceil(rows[gpu] * gradientCopyBytes.combine);
      bufferBytes[this.returned[gpu]] = Math.ceil(own * gradientCopyBytes.combine);
      bufferBytes[this.lent[gpu]] = borrowed[gpu] * sentGradient;
      bufferBytes[this.incoming[gpu]] = arriving * sentGradient;
    }
  }
}

/** Seconds of a GPU's experts in a forward pass. */
export function forwardSeconds({ forward }: GradientStageCost, amounts: LayerAmounts, gpu: number): number {
  const { roundedRows, active, rows, slots } = amounts.loadOn(gpu);
  return stageSeconds(forward, roundedRows, active, rows, slots);
}
