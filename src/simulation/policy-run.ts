import {
  PrecisePlacements,
  policyOf,
  traitsOf,
  LayerLoads,
  type LayerPlan,
  type LayerWork,
  type Policy,
  type PolicyOptions,
  type PolicySetting,
} from '../balancing/index.js';
import { addCriticalSeconds, type MemoryLedger } from '../engine/index.js';
import {
  accountOf,
  BlockingMovement,
  LAYER_CATEGORIES,
  MODEL_CATEGORIES,
  newLedger,
  PHASES,
  Residency,
  type LayerProgram,
  type LeadingSeconds,
  type Machine,
  type MemoryCategory,
  type Runtime,
} from '../execution/index.js';
import { bitsOf, createNetwork, type Network, type PortLoads } from '../hardware/index.js';
import { LayerBound } from '../metrics/index.js';
import type { LayerBatch, RoutingStep } from '../routing/index.js';
import { BatchRun } from './batch-run.js';
import type { Exposure } from './clock-errors.js';
import { exposureOf } from './exposure.js';
import { addDrop, addLayer, addRewrite } from './layer-totals.js';
import { StepMemory } from './step-memory.js';
import { Totals } from './totals.js';
import { ALONE, type WholeStep } from './whole-step.js';

const MOVE = PHASES.indexOf('move');
const REPLAN = PHASES.indexOf('replan');
const HEAD = PHASES.indexOf('head');

/** One policy on its own machine: state, network, memory and what it has cost so far. */
export class PolicyRun {
  readonly policy: Policy<PolicyOptions>;
  readonly ledger: MemoryLedger;
  readonly program: LayerProgram;
  readonly residency: Residency;
  totals: Totals;
  /** The last layer's plan and lower bound (seconds; 0 for an anchor). */
  plan: LayerPlan | null = null;
  lastBound = 0;
  /** Step by step, in scope `model`; null in scope `layer`. */
  memory: StepMemory | null = null;
  /** Seconds of the blocking movement before the last layer. */
  movementSeconds = 0;
  /** Tokens of the last step by source GPU. */
  tokensBySource: ArrayLike<number> = [];

  private readonly batchRun: BatchRun;
  private readonly network: Network;
  private readonly bound: LayerBound | null;
  private movement: BlockingMovement | null = null;
  /** Loads of a batch that the policy rewrote. */
  private readonly rewritten: LayerLoads;
  private state: unknown;
  private readonly precise: PrecisePlacements | null;
  /** The GPU whose kernel each task is; −1 for what is none. */
  private readonly kernelOf: Int32Array;
  private isLaidOut = false;
  /** The largest γ of the GPUs in the step so far. */
  private stepSkew = 0;

  /** @param index among the policies of the simulation */
  constructor(
    readonly options: PolicyOptions,
    readonly index: number,
    readonly machine: Machine,
    private readonly runtime: Runtime,
    private readonly setting: PolicySetting,
    readonly whole: WholeStep | null = null,
  ) {
    const { gpus } = machine.cluster;
    this.policy = policyOf(options);
    const { precision, shape } = machine;
    const sharedBits = shape.sharedExperts > 0 ? bitsOf(shape.weightDtype) : null;
    this.precise = precision ? new PrecisePlacements(precision.bits, sharedBits) : null;
    const traits = traitsOf(options);
    this.network = createNetwork(machine.cluster, runtime.rates);
    this.ledger = newLedger(machine);
    this.program = runtime.program({
      machine,
      network: this.network,
      ledger: this.ledger,
      traits,
      leads: whole !== null,
    });
    this.residency = new Residency(
      machine,
      this.ledger,
      runtime.residentExperts,
      {
        staging: this.policy.keepsStaging(options),
        // In scope model the shared experts are among the other weights.
        sharedExperts:
          whole === null && (runtime.computesShared === true || this.policy.holdsShared(options)),
        communicationBytes: runtime.communicationBytes,
      },
      whole?.standsFor,
    );
    this.batchRun = new BatchRun(machine, runtime, this.program);
    this.bound = this.policy.anchor ? null : new LayerBound(machine, runtime, traits.movesWeights);
    this.totals = new Totals(gpus, setting.experts);
    this.kernelOf = kernelsOf(this.program);
    for (let gpu = 0; whole !== null && gpu < gpus; gpu++) {
      this.ledger.allocate(accountOf(gpu, 'otherWeights'), whole.otherWeights, 0);
    }
    if (whole !== null) this.memory = new StepMemory(this.ledger);
    this.rewritten = new LayerLoads(gpus, setting.experts, setting.placement.home);
    this.state = this.policy.start(options, setting);
  }

  /** The last layer's plan in numbers. */
  get work(): LayerWork {
    return this.batchRun.work;
  }

  /** What the last layer's exchanges put on the ports, in messages. */
  get ports(): PortLoads {
    return this.batchRun.ports;
  }

  /** Memory of a GPU, bytes. */
  get capacity(): number {
    return this.machine.cluster.gpu.memoryBytes;
  }

  /** What the latency counted so far hangs on. */
  get exposure(): Exposure {
    const { cluster, precision } = this.machine;
    const exposure = exposureOf(this.totals, this.program.kernel, cluster.gpus);
    return precision ? { ...exposure, quantised: true } : exposure;
  }

  get ledgers(): readonly MemoryLedger[] {
    return [this.ledger];
  }

  get categories(): readonly MemoryCategory[] {
    return this.whole === null ? LAYER_CATEGORIES : MODEL_CATEGORIES;
  }

  /** What was counted so far. */
  summary(): { totals: Totals; trained: null } {
    return { totals: this.totals, trained: null };
  }

  /** Step and layer that a tag of the ledger stands for. */
  locate(tag: number): { step: number; layer: number } {
    const { layers } = this.setting;
    return { step: Math.floor(tag / layers), layer: tag % layers };
  }

  /** Starts the policy over, as before the first step; what was counted so far stays with who has it. */
  restart(): void {
    this.startCounting();
    this.state = this.policy.start(this.options, this.setting);
  }

  /** Forgets what was measured so far and starts counting. */
  startCounting(): void {
    this.totals = new Totals(this.machine.cluster.gpus, this.setting.experts);
    this.ledger.resetPeaks(0);
    if (this.whole !== null) this.memory = new StepMemory(this.ledger);
  }

  /**
   * Simulates one layer of one step; returns its seconds, or in scope `model` those of all layers that it stands for.
   * @param seed of the run
   * @param slowdown how many times as long each GPU's kernels take; null: 1
   * @param onTasks called after the tasks of a layer ran, with how many layers of the model they count as
   */
  run(
    step: RoutingStep,
    batch: LayerBatch,
    routed: LayerLoads,
    seed: number | string,
    slowdown: Float64Array | null = null,
    onTasks?: (layers: number) => void,
  ): number {
    const { policy, totals } = this;
    this.tokensBySource = step.tokensBySource;
    this.ledger.tag = step.step * this.setting.layers + batch.layer;
    const decided = policy.decide(this.state, {
      step: step.step,
      layer: batch.layer,
      counts: batch.counts,
      loads: routed.loads,
      tokensBySource: step.tokensBySource,
      tokens: batch.tokens,
      padding: batch.padding,
      phase: step.phase,
      seed,
    });
    this.state = decided.state;
    const plan = (this.plan = this.precise?.apply(decided.plan, batch.layer) ?? decided.plan);
    const stretches = this.whole?.stretches(batch.layer) ?? ALONE;
    const layers = this.whole?.standsFor[batch.layer] ?? 1;
    let seconds = 0;
    this.movementSeconds = 0;
    if (plan.move) {
      this.movement ??= new BlockingMovement(this.machine, this.network, this.ledger);
      const moved = this.movement.run(plan.move);
      this.movementSeconds = moved.seconds;
      seconds += layers * moved.seconds;
      totals.phases[MOVE] += layers * moved.seconds * this.machine.cluster.gpus;
      totals.critical[MOVE] += layers * moved.seconds;
      totals.weightBytes += layers * (moved.bytes + moved.hostBytes);
    }
    if (plan.planning) {
      const planning = layers * plan.planning.seconds;
      totals.phases[REPLAN] += planning * this.machine.cluster.gpus;
      if (plan.planning.stalls) {
        seconds += planning;
        totals.critical[REPLAN] += planning;
      }
    }
    // What is computed is the batch as the policy rewrote it.
    const base = plan.rewrite ? this.rewritten.count(plan.rewrite.counts) : routed;
    this.residency.apply(plan.placement, 0, this.whole === null ? 0 : batch.layer);
    if (this.whole !== null) this.layOut(this.whole);
    const stages = plan.background !== null && !policy.keepsStaging(this.options);
    if (stages) this.residency.stage(plan.background!, 0);
    const planned = {
      plan,
      base,
      tokens: plan.rewrite?.tokens ?? batch.tokens,
      tokensBySource: step.tokensBySource,
    };
    const draws = () => `${seed}/${step.step}/${batch.layer}`;
    if (slowdown !== null) this.slow(slowdown);
    this.lastBound = 0;
    for (const stretch of stretches) {
      const leading = plan.shared ? withoutShared(stretch.leading) : stretch.leading;
      const took = this.batchRun.run(planned, leading, draws, () => {
        this.accountWave(stretch.layers);
        onTasks?.(stretch.layers);
      });
      seconds += stretch.layers * took;
      if (this.bound) {
        this.lastBound +=
          stretch.layers * this.bound.of(plan, this.work, base, this.ports, leading, slowdown);
      }
      if (leading !== null) this.accountLeading(leading, slowdown, stretch.layers);
    }
    if (stages) this.residency.unstage();
    totals.bound += this.lastBound;
    this.account(base, plan.gated, layers);
    if (plan.rewrite) addRewrite(totals, plan.rewrite, step.tokens, layers);
    if (plan.drop) addDrop(totals, plan.drop, base, plan.placement.home, step.tokens, layers);
    return seconds;
  }

  /**
   * Ends a step of scope `model` with its head; returns the seconds of that.
   * @param onHead called with the seconds of every GPU's
   */
  finishStep(slowdown: Float64Array | null, onHead?: (byGpu: Float64Array) => void): number {
    const { head } = this.whole!;
    const { totals, memory } = this;
    const byGpu = slowdown === null ? head : head.map((seconds, gpu) => seconds * slowdown[gpu]);
    const longest = byGpu.reduce((most, seconds) => Math.max(most, seconds), 0);
    for (const seconds of byGpu) {
      totals.phases[HEAD] += seconds;
      totals.waiting += longest - seconds;
      totals.waitingForSource += longest - seconds;
    }
    totals.critical[HEAD] += longest;
    // A GPU's own tokens need its own head.
    if (this.bound) totals.bound += longest;
    totals.steps++;
    memory!.close(this.stepSkew);
    onHead?.(byGpu);
    this.stepSkew = 0;
    return longest;
  }

  /** The KV cache, which stays from the first step on, and what stands while attention or the head runs. */
  private layOut(whole: WholeStep): void {
    for (let gpu = 0; gpu < this.machine.cluster.gpus; gpu++) {
      const cache = accountOf(gpu, 'kvCache');
      if (!this.isLaidOut) this.ledger.allocate(cache, whole.cacheBytes(gpu), 0);
      this.memory!.pulse(gpu, whole.workspace[gpu]);
    }
    this.isLaidOut = true;
  }

  /** Makes every GPU's kernels take so many times as long. */
  private slow(factors: Float64Array): void {
    const { slowdown } = this.program.executor;
    this.kernelOf.forEach((gpu, task) => {
      if (gpu >= 0) slowdown[task] = factors[gpu];
    });
  }

  /** @param layers how many layers this one counts as */
  private account(base: LayerLoads, gated: boolean, layers: number): void {
    const { totals, work, runtime, ports } = this;
    const { maxOverMean } = addLayer(totals, work, ports, base, gated, layers);
    this.stepSkew = Math.max(this.stepSkew, maxOverMean);
    totals.dispatchBytes += layers * ports.total * runtime.dispatchBytes;
    totals.combineBytes += layers * ports.total * runtime.combineBytes;
  }

  private accountWave(layers: number): void {
    const { totals, program } = this;
    totals.weightBytes += layers * program.weightBytes();
    totals.weightTransfers += layers * program.weightTransfers();
    totals.metadataBytes += layers * program.metadataBytes;
    this.accountTime(layers);
  }

  /** Adds what every phase ran, per GPU, what of it was on the critical path, and what GPUs waited for each other. */
  private accountTime(layers: number): void {
    const { totals, program } = this;
    const { graph, start, end } = program.executor;
    for (let task = 0; task < graph.tasks; task++) {
      const streams = graph.streamFirst[task + 1] - graph.streamFirst[task];
      totals.phases[graph.labels[task]] += layers * (end[task] - start[task]) * streams;
    }
    addCriticalSeconds(program.executor, totals.critical, layers);
    for (const { task, arrivals, lateBy } of program.rendezvous) {
      for (const arrival of arrivals) {
        const waited = layers * (start[task] - end[arrival]);
        totals.waiting += waited;
        if (lateBy === 'source') totals.waitingForSource += waited;
      }
    }
  }

  private accountLeading(
    { dense, attention, shared }: LeadingSeconds,
    slowdown: Float64Array | null,
    layers: number,
  ): void {
    const { totals } = this;
    const { gpus } = this.machine.cluster;
    const parts = this.runtime.parts ?? 1;
    let largest = 0;
    for (let gpu = 0; gpu < gpus; gpu++) {
      const factor = parts * (slowdown === null ? 1 : slowdown[gpu]);
      const seconds = factor * (dense[gpu] + attention[gpu] + shared[gpu]);
      largest = Math.max(largest, seconds);
      totals.leadingMean += (layers * seconds) / gpus;
    }
    totals.leadingLargest += layers * largest;
  }
}

/** The GPU whose compute stream each task of a program runs on; −1: no GPU's, or several. */
function kernelsOf({ executor: { graph }, compute }: LayerProgram): Int32Array {
  return Int32Array.from({ length: graph.tasks }, (_, task) => {
    const first = graph.streamFirst[task];
    return graph.streamFirst[task + 1] - first === 1 ? compute.indexOf(graph.streamsOf[first]) : -1;
  });
}

/** What runs first where the plan says who computes the shared experts, so that nobody does so again. */
function withoutShared(leading: LeadingSeconds | null): LeadingSeconds | null {
  return leading && { ...leading, shared: new Float64Array(leading.shared.length) };
}
