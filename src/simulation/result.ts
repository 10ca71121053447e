import type { PolicyOptions } from '../balancing/index.js';
import type { GradientBytes, LayerCategory, MemoryCategory, Pass, Phase } from '../execution/index.js';
import type { LatencySummary, ShareInterval, Skew } from '../metrics/index.js';
import type { PrecisionSummary } from '../scenario/index.js';
import type { BalanceReport } from './balance-report.js';
import type { Basis, ErrorSource } from './clock-errors.js';
import type { FaultReport } from './faults/fault-report.js';
import type { OffloadResult } from './offload-result.js';
import type { PassBytes } from './training-totals.js';

/** Whether a policy's peak fits: also with what a caching allocator holds, or only just. */
export type Verdict = 'fits' | 'at risk' | 'does not fit';

/** Memory of the fullest GPU and of all. Bytes. */
export interface PeakMemory {
  /** Peak in use on the fullest GPU: what published peaks are. */
  max: number;
  perGpu: number[];
  /** Composition of the fullest GPU at its peak. */
  byCategory: Record<LayerCategory, number> & Partial<Record<MemoryCategory, number>>;
  /** Step and layer (index) of the fullest GPU's peak. */
  step: number;
  layer: number;
  /** Estimate of what a caching allocator holds at that peak. */
  reserved: number;
  /** Assumed use outside tensors: context, communication buffers, libraries. */
  nonTensor: number;
  /** Memory of the GPU. */
  capacity: number;
  verdict: Verdict;
}

/** The first allocation that found no room. */
export interface OutOfMemory {
  step: number;
  layer: number;
  gpu: number;
  /** Bytes in use after the allocation, and what tensors may use. */
  needed: number;
  limit: number;
  category: MemoryCategory;
}

/** Latency of a policy, with the 90 % interval of the mean: errors of the clock, and scatter of the steps. */
export type Latency = LatencySummary & { low: number; high: number };

/** Mean latency of `ep` over another policy's, with the 90 % interval of the pair. */
export interface Speedup {
  mean: number;
  low: number;
  high: number;
  /** The part of the interval that the scatter of the steps makes; null where they are too few to say. */
  sampling: { low: number; high: number } | null;
}

/** A cause of uncertainty, alone. */
export interface UncertaintyPart {
  source: ErrorSource;
  basis: Basis;
  /** Factors on the mean latency (90 %). */
  range: [number, number];
}

/** Memory of the whole model (scope `model`), beside `PeakMemory`. Bytes. */
export interface ModelMemory {
  /** Whether the runtime's buffers follow the load. */
  buffers: 'static' | 'dynamic';
  /** Share of steps in which the fullest GPU's peak did not fit, and fitted only as long as the allocator wastes nothing. */
  doesNotFit: ShareInterval;
  atRisk: ShareInterval;
  /** Beside weights and KV cache: the most that a step needed, and what one step of a thousand is credible to exceed. */
  dynamic: { largest: number; credible: number };
  /** The same two of the GPUs' max/mean copies, the most skewed layer of a step. */
  gamma: { largest: number; credible: number };
  /**
   * Tokens that a GPU's KV cache could hold beside the rest, with room for the credible worst step; and that the
   * fullest cache holds.
   */
  kvTokens: { room: number; held: number; overEp: number; bytesPerToken: number };
}

/** What a user of the model sees (scope `model`). Seconds. */
export interface Serving {
  /** Decode: a step is one token of every sequence. */
  timePerOutputToken: number | null;
  /** Prefill: a prompt whose last chunk the step is has its first token when it ends. */
  timeToFirstToken: number | null;
  /** In the currency of `cluster.pricePerGpuHour`; null without a price. */
  costPerMillionTokens: number | null;
}

/** What of a training step is forward, backward, and neither. Seconds; bytes are totals of the steps that count. */
export interface TrainingResult {
  /** Pipeline stages, MoE layers of each, and micro-batches of a training step. */
  stages: number;
  layersPerStage: number;
  microBatches: number;
  /** Mean seconds of each pass on the critical path, by phase; all of them sum to the mean latency. */
  critical: Record<Pass, Partial<Record<Phase, number>>>;
  /** Mean share of the time in which a stage's GPUs wait for other stages; 0 without a pipeline. */
  idle: number;
  bytes: {
    forward: PassBytes;
    recompute: PassBytes;
    backward: PassBytes;
    /** Gradients of weights on the links: of borrowed and of replicated experts on their way home, and reduced. */
    gradients: GradientBytes;
    /** Updated weights on their way to replicas, and gathered within expert-data-parallel groups. */
    refreshed: number;
    gathered: number;
    /** Weights, and states of the optimizer, that new placements moved. */
    moved: number;
  };
}

/** What one policy did in a run. Seconds, bytes and copies; totals exclude warm-up. */
export interface PolicyResult {
  policy: PolicyOptions;
  /** Run for comparison only: not listed by the scenario. */
  anchor: boolean;
  exact: boolean;
  stepLatency: Latency;
  layerLatency: Latency;
  /** What makes the interval of the mean latency. */
  uncertainty: UncertaintyPart[];
  /** Mean step latency of `ep` over this one's. */
  speedup: Speedup;
  /** 0 where nothing is left to do. */
  tokensPerSecondPerGpu: number;
  peakMemory: PeakMemory;
  oom: OutOfMemory | null;
  /** Means over (step, layer). Before: every copy at home. After: what the plan computes where. */
  imbalance: {
    gpu: { before: Skew; after: Skew; floor: number };
    /** After: per instance of an expert, over the mean per expert (the load-imbalance score keeps that mean). */
    expert: { before: Skew; after: Skew; floor: number };
    /** Scope `model`: longest over mean time of what GPUs compute before the MoE parts. */
    attention?: number;
  };
  copies: {
    routed: number;
    dropped: number;
    /** Computed away from the home GPU. */
    moved: number;
  };
  /**
   * Shares of the copies (shared experts' and padding included) that go to the GPU, and to the node, that their token is
   * on; `balanced` spreads them evenly.
   */
  locality: { ownGpu: number; ownNode: number };
  /** Quality of an inexact policy; null where the routing does not know. */
  loss: {
    keptCopies: number;
    keptGateMass: number | null;
    /** Tokens that lose all their copies, summed over layers. */
    tokensLost: number | null;
    /** Copies computed at a precision that the policy lowered. */
    quantisedCopies: number;
    droppedByExpert: number[];
    droppedByGpu: number[];
    /** Of a policy that gives copies to other experts: how many, and the GPUs of a token before and after. */
    rewritten?: { copies: number; gpusPerToken: { routed: number; rewritten: number } };
  } | null;
  /** In training: of all passes; gradients of weights are in `training`. */
  bytes: { dispatch: number; combine: number; weights: number; metadata: number };
  /** Expert weights sent, and layers that the policy left to standard EP. */
  weightTransfers: number;
  gatedLayers: number;
  /**
   * Mean seconds per layer (scope `model` and training: per step) and GPU that each phase runs, and that GPUs wait for each other; and mean seconds of
   * each phase on the critical path, which sum to the mean latency.
   */
  time: {
    phases: Partial<Record<Phase, number>>;
    waiting: number;
    /** Scope `model`: `waiting` for GPUs late by attention and the like, and for GPUs late by their experts. */
    waitingFor?: { source: number; experts: number };
    critical: Partial<Record<Phase, number>>;
  };
  /** Scope `model`. */
  memory?: ModelMemory;
  serving?: Serving;
  /**
   * Lower bound of the mean step latency, of the work that the policy does; null for the anchor `balanced`.
   * `gap` is mean / bound − 1; null where nothing is left to do.
   */
  bound: { stepLatency: number; gap: number | null; of: string } | null;
  /** Of a training; null else. */
  training: TrainingResult | null;
  /** Steps before the ones that count. */
  transient: { steps: number; meanLatency: number } | null;
}

/** How the run's routing came about. */
export interface RoutingSummary {
  steps: number;
  layers: number[];
  tokensPerGpu: number;
  calibration: string | null;
  /** Where intervals come from, or `none:` and why. */
  interval: string;
  /** Whether the steps differ: false for one step, and for generators that draw nothing. */
  varies: boolean;
  /** What was pruned before any policy saw it: shares of the copies and of the gate weights that are left. */
  pruned?: { keptCopies: number; keptGateMass: number };
  notes: string[];
}

/** The fastest policy among the exact ones that fit, anchors apart. */
export interface Fastest {
  /** Its index among the policies. */
  policy: number;
  /** Indices of the exact policies that fit and can't be told from it: their paired interval includes 1. */
  ties: number[];
}

/** What a run prints and keeps. */
export interface Result {
  schema: 'epsim/result@1';
  /** Version of epsim. */
  version: string;
  /** Hash of everything that the result depends on: scenario, files, version. */
  inputs: string;
  /** The scenario as it was run. */
  scenario: { name?: string; scope?: 'layer' | 'model' };
  model: string;
  /** MoE layers of the whole model, of which memory counts one. */
  moeLayers: number;
  cluster: { gpu: string; gpus: number; gpusPerNode: number; fabric: string };
  runtime: string;
  profile: { name: string; status: string };
  /** Share of copies that a recommended policy may lose. */
  allowedLoss: number;
  routing: RoutingSummary;
  policies: PolicyResult[];
  fastest: Fastest | null;
  /** At which bits the experts were held, where the scenario says so. */
  precision?: PrecisionSummary;
  /** Experts that do not fit the GPUs; where the scenario has `offload`. */
  offload?: OffloadResult;
  /** Every definition of balance, where asked for. */
  balance?: BalanceReport;
  /** What every fault leaves, where the cluster has any; `policies` are then of the steps before the first. */
  faults?: FaultReport[];
}
