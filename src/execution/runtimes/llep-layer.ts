import { Executor, TaskGraphBuilder, type TaskWork } from '../../engine/index.js';
import { bitsOf, expertWeights, type ExpertLayout, type ExpertStage } from '../../hardware/index.js';
import { BackgroundMovement } from '../background-movement.js';
import { LeadingWork } from '../leading-work.js';
import { combineBytes, ExpertTimer, type Machine } from '../machine.js';
import { accountOf, expertBytes, type MemoryCategory } from '../memory.js';
import { labelOf, type Phase } from '../phases.js';
import type { LayerInput, LayerProgram, ProgramContext } from '../runtime.js';
import { uniformExchange } from '../uniform-exchange.js';
import { WeightMessages } from '../weight-messages.js';

/** Elements per copy between the kernels of the experts: 7 H (fit of the published peaks). */
const INTERMEDIATE_WIDTHS = 7;
/** Elements per copy while results are scaled by their gate weight: 5.25 D, of which 3 D are alive anyway. */
const SCALE_WIDTHS = 2.25;
/** Bytes of an expert's count, an int64. */
const COUNT_BYTES = 8;
/** Ids and gate weights that travel with a copy: int32 and one element. */
const ROUTING_BYTES = 4 + 2;

/** What an implementation of LLEP costs beside kernels and transfers; seconds of the host unless it says otherwise. */
export interface LlepCosts {
  residentExperts: 'all' | 'home';
  /** Kernels and calls that the host issues per layer, besides an expert loop. */
  hostSeconds: number;
  /** host: every GPU's host reads the counts and plans; gpu: a kernel does, and the host reads its outcome. */
  planner: 'host' | 'gpu';
  /** Reading the loads and comparing them with the threshold. */
  gateSeconds: number;
  /** A plan that is not gated: fixed part (a kernel's time where the GPU plans), and per expert. */
  planSeconds: number;
  planSecondsPerExpert: number;
  postSecondsPerTransfer: number;
  /** Kernel layout of the experts for policies that borrow weights; all others run one grouped product. */
  layout: ExpertLayout;
  /** Whose kernels run. */
  stack: ExpertStage['stack'];
  /** Whether intermediates of one expert at a time are alive, for policies that borrow weights and for others. */
  perExpert: { borrowing: boolean; others: boolean };
  /** Send a pair (expert, GPU) once even where the plan lists it twice. */
  distinctTransfers: boolean;
}

/** Copies travel in 16 bits here, whatever the model's activations are quantised to. */
function copyBytes({ shape }: Machine): number {
  return shape.hiddenSize * Math.max(2, bitsOf(shape.activationDtype) / 8);
}

/** Bytes of a dispatched copy, its ids and gate weight included. */
export function llepDispatchBytes(machine: Machine): number {
  return copyBytes(machine) + ROUTING_BYTES;
}

/** Builds the graph of one layer, task by task in launch order. */
export class LlepLayer {
  private readonly graph = new TaskGraphBuilder();
  private readonly gpus: number;
  private readonly host: number[];
  private readonly compute: number[];
  private readonly collectives: number[];

  constructor(
    private readonly costs: LlepCosts,
    private readonly machine: Machine,
    private readonly context: ProgramContext,
  ) {
    this.gpus = machine.cluster.gpus;
    this.host = this.each((gpu) => this.graph.addStream(gpu, 'host'));
    this.compute = this.each((gpu) => this.graph.addStream(gpu, 'compute'));
    this.collectives = this.each((gpu) => this.graph.addStream(gpu, 'network'));
  }

  program(): LayerProgram {
    const { graph, costs, machine, gpus } = this;
    const { network, ledger, traits, leads } = this.context;
    const { experts, hiddenSize } = machine.shape;
    const plans = traits.plansEachBatch;

    const input = this.buffers('activations');
    const replicated = this.buffers('dispatchBuffers');
    const ordered = this.buffers('dispatchBuffers');
    const received = this.buffers('dispatchBuffers');
    const byExpert = this.buffers('dispatchBuffers');
    const intermediates = this.buffers('intermediates');
    const results = this.buffers('combineBuffers');
    const scratch = this.buffers('combineBuffers');
    const returned = this.buffers('combineBuffers');
    const borrowed = traits.movesWeights ? this.buffers('borrowedWeights') : null;

    const leading = new LeadingWork(graph, this.compute, leads);
    const launch = this.onEach('host', this.host, (gpu) => ({ allocates: [input[gpu]] }));
    const count = this.onEach('count', this.compute, (gpu) => ({ after: [launch[gpu]] }));
    const countsExchange = network.declareExchange();
    const reduced = this.collective('exchange-counts', countsExchange, count);
    const planners = costs.planner === 'host' ? this.host : this.compute;
    const plan = plans ? this.onEach('plan', planners, () => ({ after: [reduced] })) : null;

    // A plan that a kernel made has to be read before the host can post the transfers that it asks for.
    const posted =
      plan && costs.planner === 'gpu'
        ? this.onEach('plan', this.host, (gpu) => ({ after: [plan[gpu]] }))
        : null;
    let weights: { transfer: number; task: number }[] | null = null;
    if (traits.movesWeights) {
      const streams = this.each((gpu) => graph.addStream(gpu, 'weights'));
      const barrier = graph.addTask({
        streams,
        after: posted ?? plan ?? [reduced],
        label: labelOf('weights'),
      });
      weights = this.each((gpu) => {
        const transfer = network.declareMessages(experts + gpus);
        const task = graph.addTask({
          streams: [streams[gpu]],
          after: [barrier],
          transfer,
          allocates: borrowed ? [borrowed[gpu]] : [],
          label: labelOf('weights'),
        });
        return { transfer, task };
      });
    }
    // The plan needs the sum of the counts; the split sizes of the exchange need them by source.
    const gathered = plan ? network.declareExchange() : -1;
    const known = plan ? this.collective('exchange-counts', gathered, plan) : reduced;
    const read = this.onEach('host', this.host, () => ({ after: [known] }));
    const permute = this.onEach('permute', this.compute, (gpu) => ({
      after: [read[gpu]],
      allocates: [replicated[gpu], ordered[gpu]],
    }));
    const launched = this.onEach('host', this.host, () => ({}));
    const dispatchTransfer = network.declareExchange();
    const dispatch = this.collective('dispatch', dispatchTransfer, permute, received);
    const sort = this.onEach('sort', this.compute, (gpu) => ({
      after: [dispatch],
      allocates: [byExpert[gpu]],
    }));
    const stage = this.onEach('experts', this.compute, (gpu) => ({
      after: weights ? [sort[gpu], launched[gpu], weights[gpu].task] : [sort[gpu], launched[gpu]],
      allocates: [intermediates[gpu], results[gpu]],
      reads: [intermediates[gpu]],
    }));
    const scale = this.onEach('scale', this.compute, (gpu) => ({
      after: [stage[gpu]],
      allocates: [scratch[gpu]],
      reads: [received[gpu], byExpert[gpu], ...(borrowed ? [borrowed[gpu]] : [])],
    }));
    const combineTransfer = network.declareExchange();
    const combine = this.collective('combine', combineTransfer, scale, returned, [...results, ...scratch]);
    const unpermute = this.onEach('unpermute', this.compute, (gpu) => ({
      after: [combine],
      reads: [input[gpu], replicated[gpu], ordered[gpu], returned[gpu]],
    }));

    const background = traits.movesInBackground ? new BackgroundMovement(graph, machine, network) : null;
    const executor = new Executor(graph.compile(), network.fabric, ledger);
    const { duration, bufferBytes } = executor;
    const timer = new ExpertTimer(machine, traits.movesWeights ? costs.layout : 'fused', costs.stack);
    const { profile } = machine.cluster;
    const element = copyBytes(machine) / hiddenSize;
    const copy = copyBytes(machine);
    const back = combineBytes(machine);
    const intermediate = INTERMEDIATE_WIDTHS * machine.shape.expertHiddenSize * element;
    const perExpert = traits.movesWeights ? costs.perExpert.borrowing : costs.perExpert.others;
    const weightBytes = expertBytes(machine, bitsOf(machine.shape.weightDtype));
    const messages = new WeightMessages(
      experts + gpus,
      expertWeights(machine.shape),
      costs.distinctTransfers,
    );
    const everyone = uniformExchange(gpus, machine.cluster.gpusPerNode);

    for (let gpu = 0; gpu < gpus; gpu++) {
      duration[launch[gpu]] = costs.hostSeconds / 2;
      duration[read[gpu]] = profile.hostSyncSeconds;
      duration[launched[gpu]] = costs.hostSeconds / 2;
    }
    network.setExchange(countsExchange, everyone, experts * COUNT_BYTES, false);
    if (plan) network.setExchange(gathered, everyone, experts * COUNT_BYTES, false);

    return {
      executor,
      rowRounding: timer.cost.rowRounding,
      kernel: timer.kernel,
      compute: this.compute,
      rendezvous: [
        ...(leads ? [{ task: reduced, arrivals: count, lateBy: 'source' } as const] : []),
        { task: dispatch, arrivals: permute, lateBy: 'source' },
        { task: combine, arrivals: scale, lateBy: 'experts' },
      ],
      metadataBytes: (plan ? 2 : 1) * everyone.ports.total * experts * COUNT_BYTES,
      weightTransfers: () => messages.count,
      weightBytes: () => messages.total + (background?.bytes ?? 0),
      fill({ plan: decided, work, ports, tokensBySource, leading: ahead }: LayerInput): void {
        leading.fill(ahead, duration);
        const sent = { copies: work.send, ports };
        network.setExchange(dispatchTransfer, sent, copy + ROUTING_BYTES, false);
        network.setExchange(combineTransfer, sent, back, true);
        timer.usePlacement(decided.placement);
        background?.fill(decided.background, duration);
        messages.take(decided);
        for (let gpu = 0; gpu < gpus; gpu++) {
          const rows = work.rowsOn(gpu);
          const own = ports.sentBy(gpu);
          const tokens = tokensBySource[gpu];
          if (plan) {
            const planning = planSeconds(costs, decided.gated, experts);
            const posting = decided.gated ? 0 : messages.ofGpu(gpu) * costs.postSecondsPerTransfer;
            duration[plan[gpu]] = posted ? planning : planning + posting;
            if (posted) duration[posted[gpu]] = profile.hostSyncSeconds + posting;
          }
          if (weights) {
            network.setMessages(weights[gpu].transfer, messages, gpu);
            bufferBytes[borrowed![gpu]] = Math.ceil(work.borrowedWeights[gpu] * weightBytes);
          }
          duration[count[gpu]] = (own * COUNT_BYTES) / profile.copyBytesPerSecond;
          // Replicating reads and writes every copy, sorting does so again.
          duration[permute[gpu]] = (4 * own * copy) / profile.gatherBytesPerSecond;
          duration[sort[gpu]] = (2 * rows * copy) / profile.gatherBytesPerSecond;
          duration[stage[gpu]] = timer.seconds(work, gpu);
          duration[scale[gpu]] = (2 * rows * back) / profile.copyBytesPerSecond;
          // Copies are brought back in order (read and written), then summed per token.
          duration[unpermute[gpu]] =
            (2 * own * back) / profile.gatherBytesPerSecond +
            (own * back + tokens * hiddenSize * 2) / profile.copyBytesPerSecond;

          const largest = perExpert ? work.largestExpert[gpu] : rows;
          // The caller still holds the output of its last call when the next one starts.
          bufferBytes[input[gpu]] = Math.ceil(2 * tokens * hiddenSize * 2);
          bufferBytes[replicated[gpu]] = bufferBytes[ordered[gpu]] = Math.ceil(own * copy);
          bufferBytes[received[gpu]] = bufferBytes[byExpert[gpu]] = Math.ceil(rows * copy);
          bufferBytes[intermediates[gpu]] = Math.ceil(largest * intermediate);
          bufferBytes[results[gpu]] = Math.ceil(rows * back);
          bufferBytes[scratch[gpu]] = traits.movesWeights
            ? Math.ceil(SCALE_WIDTHS * rows * hiddenSize * element)
            : 0;
          bufferBytes[returned[gpu]] = Math.ceil(own * back);
        }
      },
    };
  }

  private each<T>(make: (gpu: number) => T): T[] {
    return Array.from({ length: this.gpus }, (_, gpu) => make(gpu));
  }

  private buffers(category: MemoryCategory): number[] {
    return this.each((gpu) => this.graph.addBuffer(accountOf(gpu, category)));
  }

  /** One task per GPU on a stream of its own. */
  private onEach(phase: Phase, streams: number[], work: (gpu: number) => TaskWork): number[] {
    const label = labelOf(phase);
    return this.each((gpu) => this.graph.addTaskOn([streams[gpu]], label, work(gpu)));
  }

  private collective(
    phase: Phase,
    transfer: number,
    after: number[],
    allocates: number[] = [],
    reads: number[] = [],
  ): number {
    return this.graph.addTaskOn(this.collectives, labelOf(phase), { after, transfer, allocates, reads });
  }
}

function planSeconds(costs: LlepCosts, gated: boolean, experts: number): number {
  const { gateSeconds, planSeconds: fixed, planSecondsPerExpert } = costs;
  return gated ? gateSeconds : gateSeconds + fixed + planSecondsPerExpert * experts;
}
