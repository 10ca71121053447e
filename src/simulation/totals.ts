import { PHASES } from '../execution/index.js';
import type { Skew } from '../metrics/index.js';

/** Sums of a run over the steps that count. */
export class Totals {
  layers = 0;
  routed = 0;
  dropped = 0;
  moved = 0;
  /** Copies that go somewhere, shared experts' and padding included; those of their own GPU, and of their own node. */
  placed = 0;
  onOwnGpu = 0;
  onOwnNode = 0;
  dispatchBytes = 0;
  combineBytes = 0;
  weightBytes = 0;
  metadataBytes = 0;
  weightTransfers = 0;
  gatedLayers = 0;
  bound = 0;
  waiting = 0;
  /** Part of `waiting` that is for GPUs late by work on their own tokens, attention above all. */
  waitingForSource = 0;
  /** Steps, in scope `model` and in training. */
  steps = 0;
  /** Seconds that the slowest GPU, and the mean GPU, computes before the MoE parts. */
  leadingLargest = 0;
  leadingMean = 0;
  gpuSkew: Skew = { maxOverMean: 0, coefficientOfVariation: 0 };
  expertSkew: Skew = { maxOverMean: 0, coefficientOfVariation: 0 };
  /** Copies computed at a precision that the policy lowered. */
  quantised = 0;
  /** Gate mass kept, summed over `gateTokens` tokens of all layers. */
  gateMass = 0;
  gateTokens = 0;
  tokensLost = 0;
  /** Copies given to other experts, and different GPUs of tokens before and after, summed over tokens. */
  rewritten = 0;
  gpusRouted = 0;
  gpusRewritten = 0;
  /** Busiest port over the mean, summed over layers. */
  portSkew = 0;
  readonly phases = new Float64Array(PHASES.length);
  /** Seconds on the critical path, by phase. */
  readonly critical = new Float64Array(PHASES.length);
  droppedByExpert: Float64Array;
  droppedByGpu: Float64Array;

  constructor(gpus: number, experts: number) {
    this.droppedByExpert = new Float64Array(experts);
    this.droppedByGpu = new Float64Array(gpus);
  }
}
