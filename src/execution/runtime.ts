import type { z } from 'zod';
import type { LayerPlan, LayerWork, PolicyTraits } from '../balancing/index.js';
import type { Executor, MemoryLedger } from '../engine/index.js';
import type { ExpertStage, Network, PortLoads, PortRates, Range } from '../hardware/index.js';
import type { LeadingSeconds } from './leading-work.js';
import type { Machine, TimedKernel } from './machine.js';
import type { StageProgram, TrainingOptions } from './training.js';
import type { TrafficFloor, TrafficInput } from './traffic/index.js';

/** A batch, or a part of it, as the tasks of one layer need it. */
export interface LayerPart {
  plan: LayerPlan;
  work: LayerWork;
  /** What the program's messages put on the ports. */
  ports: PortLoads;
  /** Tokens by source GPU. */
  tokensBySource: ArrayLike<number>;
}

/** Everything that the tasks of one layer depend on in one step. */
export interface LayerInput extends LayerPart {
  /** Tokens by source GPU whose inputs and outputs are held, where this is one wave of them; default: its own. */
  heldTokens?: ArrayLike<number>;
  /** The two halves of the batch, for programs that run it in two parts; none for all others. */
  halves?: readonly LayerPart[] | null;
  /** What every GPU computes first, in each half; null where the layer begins with its MoE part (scope `layer`). */
  leading: LeadingSeconds | null;
}

/**
 * An exchange that all GPUs wait for each other at: its task, the task after which each GPU is ready for it, and
 * what makes a GPU late. What lies between is waiting.
 */
export interface Rendezvous {
  task: number;
  arrivals: readonly number[];
  /** source: work on a GPU's own tokens, attention above all; experts: work on the copies that it received. */
  lateBy: 'source' | 'experts';
}

/** The graph of one layer, and how a plan fills it. One program serves all layers of a policy. */
export interface LayerProgram {
  executor: Executor;
  /** Rows of an expert are rounded up to a multiple of this. */
  rowRounding: number;
  kernel: TimedKernel;
  /**
   * What the dispatch sends, [from · gpus + to]; default: every copy by itself (`work.send`). To be asked for before
   * `fill`, for every part. @param part 0 or 1
   */
  messages?(input: TrafficInput, part?: number): Float64Array;
  /** The stream of every GPU's kernels. */
  compute: readonly number[];
  rendezvous: Rendezvous[];
  /** Bytes of exchanged counts per layer. */
  metadataBytes: number;
  /** Writes durations, transfers and buffer sizes. */
  fill(input: LayerInput): void;
  /** Expert weights that the layer filled last sends within the step, and their bytes. */
  weightTransfers(): number;
  weightBytes(): number;
}

/** What a program is built on: the network and the ledger of one policy. */
export interface ProgramContext {
  machine: Machine;
  network: Network;
  ledger: MemoryLedger;
  traits: PolicyTraits;
  /** Whether layers begin with attention and the like (`LeadingWork`). */
  leads: boolean;
}

/** What of a run's routing changes what a runtime assumes. */
export interface RoutingTraits {
  /** Whether it holds tokens, or counts alone. */
  hasTokens: boolean;
  /** Of a step where all steps are alike. */
  tokensPerGpu: number;
}

/** An implementation of the layer: which tasks it launches, on which streams, at which cost. */
export interface Runtime {
  name: string;
  /** Which experts a GPU keeps in memory. */
  residentExperts: 'home' | 'all';
  /**
   * dynamic: buffers follow the load, so that balancing saves memory; static: they are as large as the worst case
   * from the start, and skew changes nothing.
   */
  buffers: 'static' | 'dynamic';
  /** Bytes of a message (a copy, unless messages stand for several) on its way to the expert and back. */
  dispatchBytes: number;
  combineBytes: number;
  /** Factors by which the truth may lie below and above what the host takes (90 %), and where they come from. */
  hostAccuracy: { range: Range; basis: 'fitted' | 'assumed' };
  /** What must cross the network whatever a plan says; default: every copy by itself. */
  floor?: TrafficFloor;
  /** The most that any of its exchanges gets out of the ports; default: what the profile's links reach. */
  rates?: PortRates;
  /** Of exchanges with kernels of their own: factors by which the truth may lie below and above (90 %). */
  exchangeRange?: Range;
  /** Tokens of a GPU that the layer takes at once; larger batches run in waves. Default: no limit. */
  maxTokensPerWave?: number;
  /** Whether layers compute the shared experts themselves where nobody else does (scope `layer`); default: no. */
  computesShared?: boolean;
  /** Parts that it runs a batch, or a wave of it, in: 1 (the default), or 2 halves. */
  parts?: 1 | 2;
  /** GPUs that share each token's attention and dense layers; default 1. */
  attentionTensorParallel?: number;
  /** Bytes per GPU of static buffers for communication that outlast the layer; default: none. @param slots of all GPUs */
  communicationBytes?: (slots: number) => number;
  /**
   * What a reader must know about what this runtime does for a policy.
   */
  notes(traits: PolicyTraits, routing: RoutingTraits): string[];
  program(context: ProgramContext): LayerProgram;
  /** A pipeline stage of so many layers in training; runtimes without it only infer. */
  stage?(context: ProgramContext, training: TrainingOptions, layers: number): StageProgram;
}

/** A runtime by name, with options. */
export interface RuntimeDefinition<Options = unknown, Input = unknown> {
  name: string;
  /** One line for `epsim list`. */
  summary: string;
  /** Whose kernels it runs. */
  stack: ExpertStage['stack'];
  options: z.ZodType<Options, Input>;
  create(options: Options, machine: Machine): Runtime;
}
