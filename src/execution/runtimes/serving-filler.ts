import type { Executor } from '../../engine/index.js';
import { bitsOf, exchangeSeconds, type Network, type PortLoads } from '../../hardware/index.js';
import type { LeadingSeconds } from '../leading-work.js';
import { ExpertTimer, type Machine } from '../machine.js';
import type { LayerInput, LayerPart } from '../runtime.js';
import type { TrafficInput } from '../traffic/index.js';
import type { WeightMessages } from '../weight-messages.js';
import { GroupExchange } from './group-exchange.js';
import { HIDDEN_BYTES, type ServingCosts, type ServingLoad } from './serving-costs.js';
import { capturedTokens, launchSeconds, planSeconds, type Planner } from './serving-host.js';
import { COUNT_BYTES, type Part } from './serving-part.js';

/** Bytes of a router's logit, fp32. */
const LOGIT_BYTES = 4;
/** Kernels of attention and what else stands before the MoE part, where the host launches them one by one: assumed. */
const LEADING_KERNELS = 12;

/** Seconds by GPU of what a part begins with. */
type Leading = Record<keyof LeadingSeconds, Float64Array>;

/** Writes durations, transfers and sizes of buffers of a batch, or of its two halves. */
export class ServingFiller {
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
    private readonly planner: Planner | null,
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
    const filled = capturedTokens(host, this.planner, tokensBySource);
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
      const own = this.leading[p];
      own.dense[gpu] = this.slowed(leading.dense[gpu]);
      own.attention[gpu] = this.slowed(leading.attention[gpu]);
    }
    const leads = leading !== null && leading.attention[gpu] > 0;
    const launch = part.eager ? launchSeconds(host, profile) : 0;
    duration[part.front[gpu]] = (host.frontKernels + (leads ? LEADING_KERNELS : 0)) * launch;
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
      duration[part.planning.plan[gpu]] = planSeconds(host, this.planner!, profile, plan.gated, posts);
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
        : leading.shared[gpu];
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
