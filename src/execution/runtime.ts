import type { z } from 'zod';
import type { LayerPlan, LayerWork, PolicyTraits } from '../balancing/index.js';
import type { Executor, MemoryLedger } from '../engine/index.js';
import type { ExpertStage, Network, PortLoads, Range } from '../hardware/index.js';
import type { LeadingSeconds } from './leading-work.js';
import type { Machine, TimedKernel } from './machine.js';
import type { StageProgram, TrainingOptions } from './training.js';

/** Everything that the tasks of one layer depend on in one step. */
export interface LayerInput {
  plan: LayerPlan;
  work: LayerWork;
  /** What `work.send` puts on the ports, in copies. */
  ports: PortLoads;
  /** Tokens by source GPU. */
  tokensBySource: ArrayLike<number>;
  /** What every GPU computes first; null where the layer begins with its MoE part (scope `layer`). */
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

/** An implementation of the layer: which tasks it launches, on which streams, at which cost. */
export interface Runtime {
  name: string;
  /** Which experts a GPU keeps in memory. */
  residentExperts: 'home' | 'all';
  /** Bytes of a copy on its way to the expert and back. */
  dispatchBytes: number;
  combineBytes: number;
  /** Factors by which the truth may lie below and above what the host takes (90 %), and where they come from. */
  hostAccuracy: { range: Range; basis: 'fitted' | 'assumed' };
  /** What a reader must know about what this runtime does for a policy. */
  notes(traits: PolicyTraits): string[];
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
