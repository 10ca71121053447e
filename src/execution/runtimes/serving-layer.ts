import { Executor, TaskGraphBuilder, type TaskWork } from '../../engine/index.js';
import { bitsOf, expertWeights } from '../../hardware/index.js';
import { BackgroundMovement } from '../background-movement.js';
import { LeadingWork } from '../leading-work.js';
import type { Machine } from '../machine.js';
import { accountOf, expertBytes, type MemoryCategory } from '../memory.js';
import { labelOf, type Phase } from '../phases.js';
import type { LayerProgram, ProgramContext, Rendezvous } from '../runtime.js';
import { uniformExchange } from '../uniform-exchange.js';
import { WeightMessages } from '../weight-messages.js';
import { partsOf, type ServingCosts } from './serving-costs.js';
import { ServingFiller } from './serving-filler.js';
import { plannerOf, type Planner } from './serving-host.js';
import { COUNT_BYTES, type Begun, type Borrowing, type Part, type Planning } from './serving-part.js';

/** Builds the graph of one layer of a serving engine, task by task in launch order. */
export class ServingLayer {
  private readonly graph = new TaskGraphBuilder();
  private readonly gpus: number;
  private readonly host: number[];
  private readonly compute: number[];
  private readonly exchange: number[];
  private readonly rendezvous: Rendezvous[] = [];
  private readonly planner: Planner | null;

  constructor(
    private readonly costs: ServingCosts,
    private readonly machine: Machine,
    private readonly context: ProgramContext,
  ) {
    this.gpus = machine.cluster.gpus;
    this.planner = plannerOf(costs.host, context.traits);
    this.host = this.each((gpu) => this.graph.addStream(gpu, 'host'));
    this.compute = this.each((gpu) => this.graph.addStream(gpu, 'compute'));
    this.exchange = this.each((gpu) => this.graph.addStream(gpu, 'network'));
  }

  program(): LayerProgram {
    const { graph, costs, machine, gpus } = this;
    const { network, ledger, traits } = this.context;
    const { cluster, shape } = machine;
    const count = partsOf(costs.overlap);
    const begun = Array.from({ length: count }, () => this.begin());
    const borrowing = traits.movesWeights ? this.addWeights(begun[0]) : null;
    const parts = begun.map((part, p) => this.finish(part, borrowing, p === count - 1));
    const background = traits.movesInBackground ? new BackgroundMovement(graph, machine, network) : null;
    const executor = new Executor(graph.compile(), network.fabric, ledger);
    const weightBytes = expertBytes(machine, bitsOf(shape.weightDtype));
    const messages = new WeightMessages(shape.experts + gpus, expertWeights(shape), true);
    const filler = new ServingFiller(costs, machine, this.planner, executor, network, parts);
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
    const own = summed < 0 ? [] : [this.sumAttention(leading, summed)];
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

  /** Partial outputs of attention, added up within groups. */
  private sumAttention({ tasks }: LeadingWork, transfer: number): number {
    const task = this.collective('attention-exchange', { after: [...tasks], transfer });
    if (tasks.length > 0) this.meet(task, tasks, 'source');
    return task;
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
    const { graph } = this;
    const planners =
      this.planner?.by === 'host' ? this.host : this.each((gpu) => graph.addStream(gpu, 'planner'));
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
  private onEach(phase: Phase, streams: number[], work: (gpu: number) => TaskWork): number[] {
    const label = labelOf(phase);
    return this.each((gpu) => this.graph.addTaskOn([streams[gpu]], label, work(gpu)));
  }

  private collective(phase: Phase, work: TaskWork): number {
    return this.graph.addTaskOn(this.exchange, labelOf(phase), work);
  }
}
