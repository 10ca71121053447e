import type { PolicyTraits } from '../../balancing/index.js';
import type { Executor } from '../../engine/index.js';
import { bitsOf, type Exchange, type Network } from '../../hardware/index.js';
import { expertBytes, type MemoryCategory } from '../memory.js';
import type { Machine } from '../machine.js';
import type { Rendezvous } from '../runtime.js';
import type { CopyBytes, Pass } from '../training.js';
import { uniformExchange } from '../uniform-exchange.js';
import type { WeightMessages } from '../weight-messages.js';
import type { MegatronGraph } from './megatron-graph.js';

/** Bytes of an expert's count (int64), of a probability (fp32), and of an entry of the map of copies (int32). */
const COUNT_BYTES = 8;
const PROBABILITY_BYTES = 4;
const MAP_BYTES = 4;
/** Share of the dense bf16 rate that the router's product reaches: a first guess. */
const ROUTER_EFFICIENCY = 0.7;
/** Bytes of an element of what travels and of what lies between layers: 16 bits, whatever the products run in. */
export const ELEMENT_BYTES = 2;

/** What Megatron-LM's layer costs beside its kernels and transfers. */
export interface MegatronCosts {
  launchesBeforeSync: number;
  launchesAfterSync: number;
  backwardLaunches: number;
  planKernelSeconds: number;
  postSecondsPerTransfer: number;
  delayWeightGradients: boolean;
}

/** Tensors that a layer's backward pass needs. */
export const SAVED = ['residual', 'normed', 'routing', 'sorted', 'gateUp', 'activated', 'borrowed'] as const;

export type Saved = (typeof SAVED)[number];

/** Where a saved tensor counts: while it waits for its backward pass, and where it ends within its pass. */
const CATEGORY: Readonly<Record<Saved, [saved: MemoryCategory, passing: MemoryCategory]>> = {
  residual: ['savedForBackward', 'activations'],
  normed: ['savedForBackward', 'activations'],
  routing: ['savedForBackward', 'activations'],
  sorted: ['savedForBackward', 'dispatchBuffers'],
  gateUp: ['savedForBackward', 'intermediates'],
  activated: ['savedForBackward', 'intermediates'],
  borrowed: ['borrowedWeights', 'borrowedWeights'],
};

/** Category of a saved tensor. */
export function categoryOf(tensor: Saved, lasts: boolean): MemoryCategory {
  return CATEGORY[tensor][lasts ? 0 : 1];
}

/** Buffers of saved tensors by GPU; those that a policy or a pass does not have are missing. */
export type SavedBuffers = Partial<Record<Saved, number[]>>;

/** Sizes of the tensors of one shape. Bytes per copy, token or expert. */
export class MegatronSizes {
  readonly token: number;
  readonly copyBytes: CopyBytes;
  readonly gradientCopyBytes: CopyBytes;
  readonly weight: number;
  private readonly product: number;
  private readonly experts: number;
  private readonly expertWidth: number;

  constructor(machine: Machine) {
    const { hiddenSize, expertHiddenSize, experts, activationDtype, weightDtype } = machine.shape;
    this.token = hiddenSize * ELEMENT_BYTES;
    // Probabilities travel with the copies, since the expert applies them, and their gradients come back.
    this.copyBytes = { dispatch: this.token + PROBABILITY_BYTES, combine: this.token };
    this.gradientCopyBytes = { dispatch: this.token, combine: this.token + PROBABILITY_BYTES };
    this.weight = expertBytes(machine, bitsOf(weightDtype));
    this.product = bitsOf(activationDtype) / 8;
    this.experts = experts;
    this.expertWidth = expertHiddenSize;
  }

  /** Bytes of a saved tensor on a GPU. */
  saved(tensor: Saved, { rows, tokens, sent, borrowed }: MovedAmounts, gpu: number): number {
    const { token, expertWidth, product } = this;
    switch (tensor) {
      case 'residual':
      case 'normed':
        return Math.ceil(tokens[gpu] * token);
      case 'routing':
        // Probabilities and mask of every expert; where each copy went; its probability at the expert.
        return Math.ceil(
          tokens[gpu] * this.experts * (PROBABILITY_BYTES + 1) +
            sent.ports.sentBy(gpu) * MAP_BYTES +
            rows[gpu] * PROBABILITY_BYTES,
        );
      case 'sorted':
        return Math.ceil(rows[gpu] * (token / ELEMENT_BYTES) * product);
      case 'gateUp':
        return Math.ceil(rows[gpu] * 2 * expertWidth * ELEMENT_BYTES);
      case 'activated':
        return Math.ceil(rows[gpu] * expertWidth * product);
      case 'borrowed':
        return borrowed[gpu] * this.weight;
    }
  }
}

/** What a forward layer moves, by GPU. */
export interface MovedAmounts {
  sent: Exchange;
  messages: WeightMessages;
  rows: ArrayLike<number>;
  tokens: ArrayLike<number>;
  borrowed: ArrayLike<number>;
}

/** What a forward layer is built for. */
export interface ForwardSetting {
  pass: Pass;
  machine: Machine;
  network: Network;
  traits: PolicyTraits;
  costs: MegatronCosts;
  /** Buffers of tensors that outlast the layer's forward pass; the others end within it. */
  saved: SavedBuffers;
  /** Whether the norm before the layer is simulated. */
  norm: boolean;
  /** Whether borrowed weights travel here. */
  fetches: boolean;
  /** Buffers by GPU that are in use from the layer's first kernel on; none where nothing is. */
  allocates: number[];
}

/** Tasks of one forward layer, and how they are filled. */
export class MegatronForward {
  readonly rendezvous: Rendezvous[];
  readonly metadataBytes: number;
  private readonly sizes: MegatronSizes;
  private readonly transient: SavedBuffers;
  private readonly launch: number[];
  private readonly router: number[];
  private readonly countsExchange: number;
  private readonly plan: number[] | null;
  private readonly read: number[];
  private readonly weights: { task: number; transfer: number }[] | null;
  private readonly permute: number[];
  private readonly launched: number[];
  private readonly dispatchTransfer: number;
  private readonly sort: number[];
  private readonly experts: number[];
  private readonly unsort: number[];
  private readonly combineTransfer: number;
  private readonly unpermute: number[];
  private readonly permuted: number[];
  private readonly received: number[];
  private readonly results: number[];
  private readonly unsorted: number[];
  private readonly returned: number[];
  private readonly output: number[];
  private readonly everyone: Exchange;

  /** Adds its tasks to a graph, in launch order. */
  constructor(
    graph: MegatronGraph,
    private readonly setting: ForwardSetting,
  ) {
    const { pass, machine, network, traits, saved, fetches, allocates } = setting;
    const { experts } = machine.shape;
    const { gpus } = graph;
    this.sizes = new MegatronSizes(machine);
    const present = SAVED.filter((tensor) => isPresent(tensor, setting));
    this.transient = Object.fromEntries(
      present
        .filter((tensor) => saved[tensor] === undefined)
        .map((tensor) => [tensor, graph.buffers(categoryOf(tensor, false))]),
    );
    const { transient } = this;
    // What a task makes, and what ends with it.
    const make = (gpu: number, ...tensors: Saved[]) =>
      tensors.flatMap((tensor) => (transient[tensor] ?? madeHere(setting, tensor))?.[gpu] ?? []);
    const end = (gpu: number, ...tensors: Saved[]) =>
      tensors.flatMap((tensor) => transient[tensor]?.[gpu] ?? []);
    const onEach = graph.onEach.bind(graph, pass);

    this.permuted = graph.buffers('dispatchBuffers');
    this.received = graph.buffers('dispatchBuffers');
    this.results = graph.buffers('combineBuffers');
    this.unsorted = graph.buffers('combineBuffers');
    this.returned = graph.buffers('combineBuffers');
    this.output = graph.buffers('activations');

    this.launch = onEach('host', graph.host, () => ({}));
    this.router = onEach('route', graph.compute, (gpu) => ({
      after: [this.launch[gpu]],
      allocates: [...allocates.slice(gpu, gpu + 1), ...make(gpu, 'residual', 'normed', 'routing')],
    }));
    this.countsExchange = network.declareExchange();
    const counts = graph.collective(pass, 'exchange-counts', {
      after: this.router,
      transfer: this.countsExchange,
    });
    this.plan = traits.plansEachBatch ? onEach('plan', graph.compute, () => ({ after: [counts] })) : null;
    // One blocking read: of the sizes of the exchange, or of the plan, which says them too.
    this.read = onEach(this.plan ? 'plan' : 'host', graph.host, (gpu) => ({
      after: [this.plan ? this.plan[gpu] : counts],
    }));
    this.weights = null;
    if (traits.movesWeights && fetches) {
      const transfers = graph.each(() => network.declareMessages(experts + gpus));
      const tasks = graph.messagesIntoEach(pass, 'weights', this.read, (gpu) => ({
        transfer: transfers[gpu],
        allocates: make(gpu, 'borrowed'),
      }));
      this.weights = tasks.map((task, gpu) => ({ task, transfer: transfers[gpu] }));
    }
    this.permute = onEach('permute', graph.compute, (gpu) => ({
      after: [this.read[gpu]],
      allocates: [this.permuted[gpu]],
    }));
    this.launched = onEach('host', graph.host, () => ({}));
    this.dispatchTransfer = network.declareExchange();
    const dispatch = graph.collective(pass, 'dispatch', {
      after: this.permute,
      transfer: this.dispatchTransfer,
      allocates: this.received,
      reads: this.permuted,
    });
    this.sort = onEach('sort', graph.compute, (gpu) => ({
      after: [dispatch],
      allocates: make(gpu, 'sorted'),
      reads: [this.received[gpu]],
    }));
    this.experts = onEach('experts', graph.compute, (gpu) => ({
      after: [this.launched[gpu], ...(this.weights ? [this.weights[gpu].task] : [])],
      allocates: [...make(gpu, 'gateUp', 'activated'), this.results[gpu]],
      reads: end(gpu, 'sorted', 'gateUp', 'activated', ...(this.weights ? (['borrowed'] as const) : [])),
    }));
    this.unsort = onEach('sort', graph.compute, (gpu) => ({
      allocates: [this.unsorted[gpu]],
      reads: [this.results[gpu]],
    }));
    this.combineTransfer = network.declareExchange();
    const combine = graph.collective(pass, 'combine', {
      after: this.unsort,
      transfer: this.combineTransfer,
      allocates: this.returned,
      reads: this.unsorted,
    });
    this.unpermute = onEach('unpermute', graph.compute, (gpu) => ({
      after: [combine],
      allocates: [this.output[gpu]],
      reads: [this.returned[gpu], this.output[gpu], ...end(gpu, 'residual', 'normed', 'routing')],
    }));
    this.rendezvous = [
      { task: counts, arrivals: this.router, lateBy: 'source' },
      { task: dispatch, arrivals: this.permute, lateBy: 'source' },
      { task: combine, arrivals: this.unsort, lateBy: 'experts' },
    ];
    this.everyone = uniformExchange(gpus, machine.cluster.gpusPerNode);
    this.metadataBytes = this.everyone.ports.total * experts * COUNT_BYTES;
  }

  /** @param expertSeconds of every GPU's experts */
  fill(
    amounts: MovedAmounts,
    expertSeconds: (gpu: number) => number,
    { duration, bufferBytes }: Executor,
  ): void {
    const { sizes, setting } = this;
    const { machine, network, costs, norm } = setting;
    const { profile } = machine.cluster;
    const { experts } = machine.shape;
    const { sent, rows, tokens, messages } = amounts;
    network.setExchange(this.countsExchange, this.everyone, experts * COUNT_BYTES, false);
    network.setExchange(this.dispatchTransfer, sent, sizes.copyBytes.dispatch, false);
    network.setExchange(this.combineTransfer, sent, sizes.copyBytes.combine, true);
    for (const tensor of SAVED) {
      const buffers = this.transient[tensor];
      if (buffers === undefined) continue;
      buffers.forEach((buffer, gpu) => (bufferBytes[buffer] = sizes.saved(tensor, amounts, gpu)));
    }
    const { token } = sizes;
    for (let gpu = 0; gpu < rows.length; gpu++) {
      const own = sent.ports.sentBy(gpu);
      duration[this.launch[gpu]] = costs.launchesBeforeSync * profile.kernelLaunchSeconds;
      duration[this.launched[gpu]] = costs.launchesAfterSync * profile.kernelLaunchSeconds;
      duration[this.router[gpu]] =
        routerSeconds(machine, tokens[gpu], 1) + (norm ? normSeconds(machine, tokens[gpu], 2) : 0);
      duration[this.read[gpu]] =
        profile.hostSyncSeconds + postedBy(messages, gpu) * costs.postSecondsPerTransfer;
      if (this.plan) duration[this.plan[gpu]] = costs.planKernelSeconds;
      if (this.weights) network.setMessages(this.weights[gpu].transfer, messages, gpu);
      duration[this.permute[gpu]] = (2 * own * token) / profile.gatherBytesPerSecond;
      duration[this.sort[gpu]] = (2 * rows[gpu] * token) / profile.gatherBytesPerSecond;
      duration[this.experts[gpu]] = expertSeconds(gpu);
      duration[this.unsort[gpu]] = duration[this.sort[gpu]];
      duration[this.unpermute[gpu]] = ((own + tokens[gpu]) * token) / profile.gatherBytesPerSecond;
      bufferBytes[this.permuted[gpu]] = Math.ceil(own * token);
      bufferBytes[this.received[gpu]] = Math.ceil(rows[gpu] * sizes.copyBytes.dispatch);
      bufferBytes[this.results[gpu]] = Math.ceil(rows[gpu] * token);
      bufferBytes[this.unsorted[gpu]] = bufferBytes[this.results[gpu]];
      bufferBytes[this.returned[gpu]] = Math.ceil(own * token);
      bufferBytes[this.output[gpu]] = Math.ceil(tokens[gpu] * token);
    }
  }
}

function isPresent(tensor: Saved, { norm, fetches, traits }: ForwardSetting): boolean {
  if (tensor === 'residual') return norm;
  if (tensor === 'borrowed') return fetches && traits.movesWeights;
  return true;
}

/** Buffers of a saved tensor that this pass allocates: all but those that lay there when it began. */
function madeHere({ saved, pass, norm }: ForwardSetting, tensor: Saved): number[] | undefined {
  const given = pass === 'recompute' && (tensor === 'residual' || (tensor === 'normed' && !norm));
  return given ? undefined : saved[tensor];
}

/**
 * Product of the router with a probability per expert, as often as `products` says (backward: twice): the slower of
 * its FLOP, at the share of the dense bf16 rate that first guesses count with, and its bytes.
 */
export function routerSeconds({ cluster, shape }: Machine, tokens: number, products: number): number {
  const { profile, gpu } = cluster;
  const rate = ROUTER_EFFICIENCY * gpu.bf16Flops;
  const flop = 2 * tokens * shape.hiddenSize * shape.experts;
  const bytes = tokens * (shape.hiddenSize * ELEMENT_BYTES + 2 * shape.experts * PROBABILITY_BYTES);
  return products * Math.max(flop / rate, bytes / profile.copyBytesPerSecond);
}

/** A norm that reads and writes the tokens so many times in all. */
export function normSeconds({ cluster, shape }: Machine, tokens: number, times: number): number {
  return (times * tokens * shape.hiddenSize * ELEMENT_BYTES) / cluster.profile.copyBytesPerSecond;
}

/** Weight transfers that a GPU sends or receives. */
function postedBy({ count, source, destination }: WeightMessages, gpu: number): number {
  let own = 0;
  for (let i = 0; i < count; i++) if (source[i] === gpu || destination[i] === gpu) own++;
  return own;
}
