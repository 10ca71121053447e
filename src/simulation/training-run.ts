import {
  LayerWork,
  policyLabel,
  policyOf,
  traitsOf,
  type LayerLoads,
  type LayerPlan,
  type Placement,
  type Policy,
  type PolicyOptions,
  type PolicySetting,
} from '../balancing/index.js';
import { addCriticalSeconds, type Executor, type MemoryLedger } from '../engine/index.js';
import {
  BlockingMovement,
  newLedger,
  PASSES,
  PHASES,
  pipelineSteps,
  residentTraining,
  Residency,
  TRAINING_CATEGORIES,
  warmupOfStage,
  type LayerAmounts,
  type Machine,
  type Pass,
  type PipelineStep,
  type Rendezvous,
  type Runtime,
  type StageProgram,
  type TrainingOptions,
} from '../execution/index.js';
import { bitsOf, createNetwork, linkSeconds, PortLoads, type Network } from '../hardware/index.js';
import { LayerBound } from '../metrics/index.js';
import type { LayerBatch, RoutingStep } from '../routing/index.js';
import type { Exposure } from './clock-errors.js';
import { exposureOf } from './exposure.js';
import { addDrop, addLayer } from './layer-totals.js';
import { RefusalError } from './refusal-error.js';
import type { TrainingResult } from './result.js';
import { Totals } from './totals.js';
import { trainingResult, withAllPasses } from './training-result.js';
import { TrainingTotals } from './training-totals.js';

const LABELS = PASSES.length * PHASES.length;
const labelOf = (pass: Pass, phase: (typeof PHASES)[number]) =>
  PASSES.indexOf(pass) * PHASES.length + PHASES.indexOf(phase);
const MOVE = labelOf('forward', 'move');
const REPLAN = labelOf('forward', 'replan');
const SEND = labelOf('pipeline', 'pipeline');

/** Seconds of one micro-batch in one stage, one way, and by label those on its critical path. */
interface Passage {
  seconds: number;
  critical: Float64Array;
}

/** GPUs of one pipeline stage. */
interface Stage {
  layers: number;
  network: Network;
  ledger: MemoryLedger;
  program: StageProgram;
  residency: Residency;
  /** What layers of micro-batches that have not gone backward move, [slot][layer]; a slot is reused. */
  amounts: LayerAmounts[][];
  placements: (Placement | null)[];
  movement: BlockingMovement | null;
  /** Seconds that placements take to move before the micro-batch that is being decided. */
  moveSeconds: number;
  /** Seconds that it stands still before that while placements are planned. */
  planSeconds: number;
  forward: Passage[];
  backward: Passage[];
}

/** What a policy is trained with. */
export interface TrainingSpec {
  options: PolicyOptions;
  /** Among the policies of the simulation. */
  index: number;
  machine: Machine;
  runtime: Runtime;
  setting: PolicySetting;
  training: TrainingOptions;
}

/** One policy in training, on machines of its own: every pipeline stage has GPUs, a network and a ledger. */
export class TrainingRun {
  readonly options: PolicyOptions;
  readonly policy: Policy<PolicyOptions>;
  readonly stages: readonly Stage[];
  readonly work: LayerWork;
  readonly ports: PortLoads;
  totals: Totals;
  trained: TrainingTotals;
  /** Lower bound of the last training step, seconds. */
  lastBound = 0;
  plan: LayerPlan | null = null;

  readonly index: number;
  private readonly machine: Machine;
  private readonly runtime: Runtime;
  private readonly setting: PolicySetting;
  private readonly chosen: TrainingOptions;
  private readonly bound: LayerBound | null;
  private readonly stageBounds: Float64Array;
  private readonly stateBits: number;
  private state: unknown;
  private microBatch = 0;
  /** Tokens of the fullest source GPU in the training step so far. */
  private mostTokens = 0;

  constructor({ options, index, machine, runtime, setting, training: chosen }: TrainingSpec) {
    this.options = options;
    this.index = index;
    this.machine = machine;
    this.runtime = runtime;
    this.setting = setting;
    this.chosen = chosen;
    const { gpus, gpusPerNode } = machine.cluster;
    this.policy = policyOf(options);
    const traits = traitsOf(options);
    const layers = setting.layers / chosen.stages;
    const resident = residentTraining(chosen);
    this.stateBits = 8 * resident.optimizer;
    this.stages = Array.from({ length: chosen.stages }, (_, stage): Stage => {
      const network = createNetwork(machine.cluster, runtime.rates);
      const ledger = newLedger(machine);
      const context = { machine, network, ledger, traits, leads: false };
      const program = runtime.stage!(context, chosen, layers);
      const alive = warmupOfStage(stage, chosen.stages, chosen.microBatches) + 1;
      const eachLayer = <T>(make: () => T) => Array.from({ length: layers }, make);
      return {
        layers,
        network,
        ledger,
        program,
        residency: new Residency(
          machine,
          ledger,
          runtime.residentExperts,
          { communicationBytes: runtime.communicationBytes },
          eachLayer(() => 1),
          resident,
        ),
        amounts: Array.from({ length: alive }, () => eachLayer(() => program.newAmounts())),
        placements: eachLayer(() => null),
        movement: null,
        moveSeconds: 0,
        planSeconds: 0,
        forward: [],
        backward: [],
      };
    });
    const { rowRounding } = this.stages[0].program;
    this.work = new LayerWork(gpus, setting.experts, rowRounding, bitsOf(machine.shape.weightDtype));
    this.ports = new PortLoads(gpus, gpusPerNode);
    this.bound = this.policy.anchor ? null : new LayerBound(machine, runtime, traits.movesWeights);
    this.stageBounds = new Float64Array(chosen.stages);
    this.totals = new Totals(gpus, setting.experts);
    this.trained = new TrainingTotals();
    this.state = this.policy.start(options, setting);
  }

  /** Memory of a GPU, bytes. */
  get capacity(): number {
    return this.machine.cluster.gpu.memoryBytes;
  }

  get ledgers(): readonly MemoryLedger[] {
    return this.stages.map(({ ledger }) => ledger);
  }

  /** Of scope `model` alone. */
  readonly memory = null;
  readonly categories = TRAINING_CATEGORIES;

  /** What was counted so far, with the sums of all passes. */
  summary(): { totals: Totals; trained: TrainingResult } {
    const { totals, trained, chosen, setting } = this;
    return {
      totals: withAllPasses(totals, trained),
      trained: trainingResult(trained, chosen, setting.layers),
    };
  }

  get exposure(): Exposure {
    return exposureOf(this.totals, this.stages[0].program.kernel, this.machine.cluster.gpus);
  }

  /** Training step that a tag of the ledger stands for. */
  locate(tag: number): { step: number; layer: number } {
    return { step: tag, layer: 0 };
  }

  restart(): void {
    this.startCounting();
    this.state = this.policy.start(this.options, this.setting);
    this.microBatch = 0;
  }

  startCounting(): void {
    this.totals = new Totals(this.machine.cluster.gpus, this.setting.experts);
    this.trained = new TrainingTotals();
    for (const { ledger } of this.stages) ledger.resetPeaks(0);
  }

  /** Decides one layer of a micro-batch and keeps what it moves and computes. */
  decide(step: RoutingStep, batch: LayerBatch, base: LayerLoads, seed: number | string): void {
    const { work, ports, totals, runtime, chosen } = this;
    const perStage = this.stages[0].layers;
    const at = Math.floor(batch.layer / perStage);
    const stage = this.stages[at];
    const layer = batch.layer % perStage;
    for (const { ledger } of this.stages) ledger.tag = Math.floor(step.step / chosen.microBatches);
    const decided = this.policy.decide(this.state, {
      step: step.step,
      layer: batch.layer,
      counts: batch.counts,
      loads: base.loads,
      tokensBySource: step.tokensBySource,
      tokens: batch.tokens,
      padding: batch.padding,
      phase: step.phase,
      seed,
    });
    this.state = decided.state;
    const plan = (this.plan = decided.plan);
    const before = stage.placements[layer];
    if (this.microBatch > 0 && before !== null && !isSame(before, plan.placement)) throw this.movedTooSoon();
    if (plan.move) this.move(stage, layer, plan);
    if (plan.planning?.stalls) stage.planSeconds += plan.planning.seconds;
    else if (plan.planning) this.trained.phases[REPLAN] += plan.planning.seconds * this.machine.cluster.gpus;
    stage.residency.apply(plan.placement, 0, layer);
    stage.placements[layer] = plan.placement;
    work.expand(plan, base);
    ports.count(work.send);
    const amounts = this.slotOf(stage, this.microBatch)[layer];
    amounts.take({ plan, work, tokensBySource: step.tokensBySource });
    for (const tokens of step.tokensBySource) this.mostTokens = Math.max(this.mostTokens, tokens);
    if (this.bound) {
      const again = chosen.recompute === 'moe' || chosen.recompute === 'full';
      this.stageBounds[at] += this.bound.ofTraining(plan, work, base, ports, again);
    }
    addLayer(totals, work, ports, base, plan.gated);
    totals.dispatchBytes += ports.total * runtime.dispatchBytes;
    totals.combineBytes += ports.total * runtime.combineBytes;
    totals.weightTransfers += amounts.messages.count;
    this.trained.addLayer(stage.program, amounts, ports.total, chosen);
    if (plan.drop) addDrop(totals, plan.drop, base, plan.placement.home, step.tokens);
  }

  /**
   * Runs the micro-batch that was decided through the stages; returns the seconds of the training step where it was
   * its last, else null.
   */
  run(): number | null {
    const { stages, microBatches } = this.chosen;
    const m = this.microBatch;
    const last = m === microBatches - 1;
    this.stages.forEach((stage, s) => {
      const ahead = warmupOfStage(s, stages, microBatches);
      this.goForward(stage, m);
      if (m >= ahead) this.goBackward(stage, m - ahead);
      for (let rest = m - ahead + 1; last && rest <= m; rest++) this.goBackward(stage, rest);
    });
    this.microBatch = last ? 0 : m + 1;
    return last ? this.endStep() : null;
  }

  private slotOf({ amounts }: Stage, microBatch: number): LayerAmounts[] {
    return amounts[microBatch % amounts.length];
  }

  private movedTooSoon(): RefusalError {
    return new RefusalError(
      `policies[${this.index}]`,
      `${policyLabel(this.options)}, which changes its placement between micro-batches of a step, while gradients are added up`,
      `a placement that lasts for the ${this.chosen.microBatches} micro-batches of a step (history.interval: a multiple of them), or training.microBatches: 1`,
    );
  }

  /** Moves weights to a new placement before the micro-batch, and the optimizer's states to experts' new homes. */
  private move(stage: Stage, layer: number, { move, placement }: LayerPlan): void {
    const before = stage.placements[layer];
    const states = [];
    for (let expert = 0; before !== null && this.stateBits > 0 && expert < placement.home.length; expert++) {
      const [source, destination] = [before.home[expert], placement.home[expert]];
      if (source !== destination) states.push({ expert, source, destination, bits: this.stateBits });
    }
    stage.movement ??= new BlockingMovement(this.machine, stage.network, stage.ledger);
    const moved = stage.movement.run({ ...move!, loads: [...move!.loads, ...states] });
    stage.moveSeconds += moved.seconds;
    this.trained.movedBytes += moved.bytes;
  }

  private goForward(stage: Stage, microBatch: number): void {
    const { program } = stage;
    program.fillForward(this.slotOf(stage, microBatch));
    const passage = this.passageOf(program.forward, program.rendezvous.forward);
    this.putBefore(passage, MOVE, stage.moveSeconds);
    this.putBefore(passage, REPLAN, stage.planSeconds);
    stage.moveSeconds = 0;
    stage.planSeconds = 0;
    stage.forward[microBatch] = passage;
  }

  /** Lets all GPUs of a stage do something before a passage begins. */
  private putBefore(passage: Passage, label: number, seconds: number): void {
    passage.seconds += seconds;
    passage.critical[label] += seconds;
    this.trained.phases[label] += seconds * this.machine.cluster.gpus;
  }

  private goBackward(stage: Stage, microBatch: number): void {
    const { program } = stage;
    const last = microBatch === this.chosen.microBatches - 1;
    this.trained.addGradients(program.fillBackward(this.slotOf(stage, microBatch), last));
    stage.backward[microBatch] = this.passageOf(program.backward, program.rendezvous.backward);
  }

  /** Runs a graph, and adds up what its tasks take and how long GPUs wait. */
  private passageOf(executor: Executor, rendezvous: readonly Rendezvous[]): Passage {
    const seconds = executor.run(0);
    const { graph, start, end } = executor;
    const { phases } = this.trained;
    for (let task = 0; task < graph.tasks; task++) {
      const streams = graph.streamFirst[task + 1] - graph.streamFirst[task];
      phases[graph.labels[task]] += (end[task] - start[task]) * streams;
    }
    for (const { task, arrivals } of rendezvous) {
      for (const arrival of arrivals) this.totals.waiting += start[task] - end[arrival];
    }
    const critical = new Float64Array(LABELS);
    addCriticalSeconds(executor, critical);
    return { seconds, critical };
  }

  /** Puts the stages' times together: 1F1B, then the update of the stage that ends last. */
  private endStep(): number {
    const { stages, totals, trained } = this;
    const sendBytes = this.mostTokens * this.machine.shape.hiddenSize * 2;
    const sendSeconds = linkSeconds(this.machine.cluster.profile.nic, sendBytes);
    const done = pipelineSteps(
      {
        forward: stages.map(({ forward }) => forward.map(({ seconds }) => seconds)),
        backward: stages.map(({ backward }) => backward.map(({ seconds }) => seconds)),
      },
      sendSeconds,
    );
    const updates = stages.map((stage) => {
      const { replicas, gathered } = stage.program.fillUpdate(stage.placements as Placement[]);
      trained.refreshedBytes += replicas;
      trained.gatheredBytes += gathered;
      return this.passageOf(stage.program.update, []);
    });
    const ends = done.map((steps, s) => steps.at(-1)!.end + updates[s].seconds);
    const slowest = ends.indexOf(Math.max(...ends));
    const seconds = ends[slowest];
    const critical = new Float64Array(LABELS);
    addAll(critical, updates[slowest].critical);
    for (let step: PipelineStep | null = done[slowest].at(-1)!; step !== null; step = step.before) {
      const { stage, backward, microBatch, before, start } = step;
      addAll(critical, stages[stage][backward ? 'backward' : 'forward'][microBatch].critical);
      if (before !== null) critical[SEND] += start - before.end;
    }
    addAll(trained.critical, critical);
    for (let label = 0; label < LABELS; label++) totals.critical[label % PHASES.length] += critical[label];
    const busy = stages.reduce(
      (sum, { forward, backward }, s) =>
        sum + updates[s].seconds + [...forward, ...backward].reduce((all, one) => all + one.seconds, 0),
      0,
    );
    trained.steps++;
    trained.idle += seconds > 0 ? 1 - busy / (stages.length * seconds) : 0;
    totals.steps++;
    this.lastBound = Math.max(...this.stageBounds);
    totals.bound += this.lastBound;
    this.stageBounds.fill(0);
    this.mostTokens = 0;
    for (const stage of stages) {
      stage.forward.length = 0;
      stage.backward.length = 0;
    }
    return seconds;
  }
}

function addAll(sums: Float64Array, values: Float64Array): void {
  for (let i = 0; i < sums.length; i++) sums[i] += values[i];
}

/** Whether two placements hold the same experts in the same slots, with the same homes. */
function isSame(a: Placement, b: Placement): boolean {
  if (a === b) return true;
  const equal = (one: Int32Array, other: Int32Array) =>
    one.length === other.length && one.every((value, i) => value === other[i]);
  return equal(a.firstSlot, b.firstSlot) && equal(a.slotExpert, b.slotExpert) && equal(a.home, b.home);
}
