import {
  LayerWork,
  policyOf,
  traitsOf,
  type LayerLoads,
  type LayerPlan,
  type Policy,
  type PolicyOptions,
  type PolicySetting,
} from '../balancing/index.js';
import { addCriticalSeconds, type MemoryLedger } from '../engine/index.js';
import {
  BlockingMovement,
  newLedger,
  PHASES,
  Residency,
  type LayerProgram,
  type Machine,
  type Runtime,
} from '../execution/index.js';
import { bitsOf, createNetwork, PortLoads, type Network } from '../hardware/index.js';
import { LayerBound } from '../metrics/index.js';
import type { LayerBatch, RoutingStep } from '../routing/index.js';
import type { Exposure } from './clock-errors.js';
import { exposureOf } from './exposure.js';
import { addDrop, addLayer } from './layer-totals.js';
import { Totals } from './totals.js';

const MOVE = PHASES.indexOf('move');

/** One policy on its own machine: state, network, memory and what it has cost so far. */
export class PolicyRun {
  readonly policy: Policy<PolicyOptions>;
  readonly ledger: MemoryLedger;
  readonly program: LayerProgram;
  readonly work: LayerWork;
  readonly residency: Residency;
  /** What the last layer's exchange put on the ports, in copies. */
  readonly ports: PortLoads;
  totals: Totals;
  /** The last layer's plan and lower bound (seconds; 0 for an anchor). */
  plan: LayerPlan | null = null;
  lastBound = 0;

  private readonly network: Network;
  private readonly bound: LayerBound | null;
  private movement: BlockingMovement | null = null;
  private state: unknown;

  constructor(
    readonly options: PolicyOptions,
    private readonly machine: Machine,
    private readonly runtime: Runtime,
    private readonly setting: PolicySetting,
  ) {
    const { gpus, gpusPerNode } = machine.cluster;
    this.policy = policyOf(options);
    const traits = traitsOf(options);
    this.network = createNetwork(machine.cluster);
    this.ledger = newLedger(machine);
    this.program = runtime.program({
      machine,
      network: this.network,
      ledger: this.ledger,
      traits,
      leads: false,
    });
    this.residency = new Residency(machine, this.ledger, runtime.residentExperts, traits.movesInBackground);
    this.work = new LayerWork(
      gpus,
      setting.experts,
      this.program.rowRounding,
      bitsOf(machine.shape.weightDtype),
    );
    this.ports = new PortLoads(gpus, gpusPerNode);
    this.bound = this.policy.anchor ? null : new LayerBound(machine, runtime, traits.movesWeights);
    this.totals = new Totals(gpus, setting.experts);
    this.state = this.policy.start(options, setting);
  }

  /** Memory of a GPU, bytes. */
  get capacity(): number {
    return this.machine.cluster.gpu.memoryBytes;
  }

  /** What the latency counted so far hangs on. */
  get exposure(): Exposure {
    return exposureOf(this.totals, this.program.kernel, this.machine.cluster.gpus);
  }

  /** What was counted so far. */
  summary(): { totals: Totals; trained: null } {
    return { totals: this.totals, trained: null };
  }

  get ledgers(): readonly MemoryLedger[] {
    return [this.ledger];
  }

  /** Step and layer that a tag of the ledger stands for. */
  locate(tag: number): { step: number; layer: number } {
    const { layers } = this.setting;
    return { step: Math.floor(tag / layers), layer: tag % layers };
  }

  /** Starts the policy over, as before the first step. */
  restart(): void {
    this.state = this.policy.start(this.options, this.setting);
  }

  /** Forgets what was measured so far and starts counting. */
  startCounting(): void {
    this.totals = new Totals(this.machine.cluster.gpus, this.setting.experts);
    this.ledger.resetPeaks(0);
  }

  /**
   * Simulates one layer of one step; returns its seconds.
   * @param seed of the run
   */
  run(step: RoutingStep, batch: LayerBatch, base: LayerLoads, seed: number | string): number {
    const { program, work, ports, policy } = this;
    this.ledger.tag = step.step * this.setting.layers + batch.layer;
    const decided = policy.decide(this.state, {
      step: step.step,
      layer: batch.layer,
      counts: batch.counts,
      loads: base.loads,
      tokensBySource: step.tokensBySource,
      tokens: batch.tokens,
      seed,
    });
    this.state = decided.state;
    const plan = (this.plan = decided.plan);
    let seconds = 0;
    let movedBytes = 0;
    if (plan.move) {
      this.movement ??= new BlockingMovement(this.machine, this.network, this.ledger);
      const moved = this.movement.run(plan.move);
      seconds += moved.seconds;
      movedBytes = moved.bytes;
      this.totals.phases[MOVE] += moved.seconds * this.machine.cluster.gpus;
      this.totals.critical[MOVE] += moved.seconds;
    }
    this.residency.apply(plan.placement, 0);
    work.expand(plan, base);
    ports.count(work.send);
    program.fill({ plan, work, ports, tokensBySource: step.tokensBySource, leading: null });
    seconds += program.executor.run(0);
    if (this.bound) {
      this.lastBound = this.bound.of(plan, work, base, ports);
      this.totals.bound += this.lastBound;
    }
    this.account(base, movedBytes, plan.gated);
    if (plan.drop) addDrop(this.totals, plan.drop, base, plan.placement.home, step.tokens);
    return seconds;
  }

  private account(base: LayerLoads, movedBytes: number, gated: boolean): void {
    const { totals, work, runtime, ports, program } = this;
    addLayer(totals, work, ports, base, gated);
    totals.samples++;
    totals.dispatchBytes += ports.total * runtime.dispatchBytes;
    totals.combineBytes += ports.total * runtime.combineBytes;
    totals.weightBytes += program.weightBytes() + movedBytes;
    totals.weightTransfers += program.weightTransfers();
    totals.metadataBytes += program.metadataBytes;
    this.accountTime();
  }

  /** Adds what every phase ran, per GPU, what of it was on the critical path, and what GPUs waited for each other. */
  private accountTime(): void {
    const { totals, program } = this;
    const { graph, start, end } = program.executor;
    for (let task = 0; task < graph.tasks; task++) {
      const streams = graph.streamFirst[task + 1] - graph.streamFirst[task];
      totals.phases[graph.labels[task]] += (end[task] - start[task]) * streams;
    }
    addCriticalSeconds(program.executor, totals.critical);
    for (const { task, arrivals } of program.rendezvous) {
      for (const arrival of arrivals) totals.waiting += start[task] - end[arrival];
    }
  }
}
