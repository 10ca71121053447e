import type { PolicyOptions } from '../balancing/index.js';
import type { Phase } from '../execution/index.js';

/** Where the time of one policy goes. Seconds are means per layer of a step; in scope `model` per step. */
export interface PolicyExplanation {
  policy: PolicyOptions;
  anchor: boolean;
  seconds: number;
  /** Phases on the critical path, the longest first; their seconds sum to those of a layer. */
  phases: {
    phase: Phase;
    seconds: number;
    /** Seconds more (or less) than ep spends there; null for ep itself. */
    beyondEp: number | null;
  }[];
  /** Seconds of exchanges on the critical path, and that a GPU is ready and waits for the others, mean over GPUs. */
  transfer: number;
  waiting: number;
  /** In scope `model`, what GPUs wait for, which sums to `waiting`; null in scope `layer`, which begins with the experts. */
  waitingFor: {
    /** Others' work on tokens of their own: attention above all. */
    source: number;
    /** Others' experts. */
    experts: number;
    /** The GPU that is last with work on its own tokens most often, and in which share of layers; null where none is. */
    lastAtSource: { gpu: number; share: number } | null;
  } | null;
  gpus: GpuExplanation[];
  layers: LayerExplanation[];
  /** Experts of the slowest GPUs that have most copies beyond the mean of an instance, the worst first. */
  experts: HotInstance[];
  /** What placements promised and kept; null where nothing is planned from loads of the past. */
  prediction: Prediction | null;
}

/** What one GPU has to do with it. */
export interface GpuExplanation {
  gpu: number;
  /**
   * Seconds on the critical path of work of its own, and of exchanges in which its port is the busiest. Where GPUs do
   * the same work at the same time, each has its part.
   */
  work: number;
  exchanges: number;
  /** Share of layers and steps in which its experts are on the critical path. */
  slowest: number;
  /** Seconds that it waits for others at exchanges. */
  waiting: number;
  /** Copies that it computes, over the mean of the GPUs. */
  load: number;
}

/** What one layer has to do with it. */
export interface LayerExplanation {
  /** The model's number of the layer. */
  layer: number;
  seconds: number;
  /** Mean over steps of γ of the GPUs' copies. */
  gamma: number;
  /** The GPU whose experts are on the critical path most often, and in which share of the steps; null where none are. */
  slowest: { gpu: number; share: number } | null;
}

/** An instance of an expert on a GPU that a layer waits for. */
export interface HotInstance {
  layer: number;
  gpu: number;
  expert: number;
  /** Share of the steps in which that GPU is the slowest. */
  share: number;
  /** Its copies in those steps, over the mean copies of an expert of the layer and over all copies of the GPU. */
  timesMean: number;
  shareOfGpu: number;
}

/** γ of the GPUs' copies: what plans expect, what comes of it, and what knowing the loads would have made of it. */
export interface Balances {
  /** Of the loads that the plan knew; null where it does not say. */
  expected: number | null;
  realised: number;
  oracle: number;
}

/** A placement in force over some steps of a layer. */
export interface Rebalance extends Balances {
  layer: number;
  /** First step that counts, and how many. */
  step: number;
  steps: number;
}

/** Means over placements, each weighted by its steps, and the placements. */
export interface Prediction extends Balances {
  rebalances: Rebalance[];
}

/** Where the time of a run goes, policy by policy. */
export interface Explanation {
  schema: 'epsim/explanation@1';
  /** Version of epsim, and hash of everything that the explanation depends on. */
  version: string;
  inputs: string;
  /** The scenario as it was run. */
  scenario: { name?: string };
  model: string;
  scope: 'layer' | 'model';
  runtime: string;
  cluster: { gpu: string; gpus: number; gpusPerNode: number };
  steps: number;
  layers: number[];
  policies: PolicyExplanation[];
  notes: string[];
}
