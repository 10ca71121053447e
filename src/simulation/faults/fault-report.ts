import type { PolicyOptions } from '../../balancing/index.js';
import type { Fault } from '../../hardware/index.js';
import type { PeakMemory } from '../result.js';

/** What a policy does while nothing more breaks. */
export interface Condition {
  /** Mean seconds of a step, over how many steps. */
  stepLatency: number;
  steps: number;
  /** Of all GPUs together; in scope `layer` through one MoE layer. */
  tokensPerSecond: number;
  /** γ of the GPUs' loads, as the policy divides them. */
  gamma: number;
  /** Bytes of the fullest GPU, and whether they fit: of one MoE layer, or in scope `model` of the model. */
  peakMemory: Pick<PeakMemory, 'max' | 'verdict'>;
  /** Resident experts of all MoE layers on a GPU as full as that one, bytes, and whether they would fit by themselves. */
  experts: { bytes: number; fit: boolean };
}

/** How the experts of lost GPUs come to the others, while no step runs. */
export interface Recovery {
  /** Seconds for all MoE layers of the model, one after the other, and the pause that the fault states. */
  seconds: number;
  /** Mean seconds of a simulated layer. */
  layerSeconds: number;
  /** Experts of a layer (mean) of which no GPU held an instance any more. */
  lostExperts: number;
  /** Bytes for all MoE layers: from GPUs to others, and from host memory or disk. */
  bytes: { gpus: number; storage: number };
  /** Most bytes of a layer's weights that a GPU has on their way, beside the experts that it holds. */
  staging: number;
  /** Steps of all MoE layers (in scope `model`: of the model) that the GPUs would have run meanwhile, as fast as before. */
  stepsMissed: number;
}

/** One policy before and after a fault. */
export interface FaultedPolicy {
  policy: PolicyOptions;
  /** Run for comparison only. */
  anchor: boolean;
  /** Over the steps since the fault before, or since the start. */
  before: Condition;
  /** Over the very steps after the fault, had it not happened: what a loss is measured against. */
  without: Condition;
  /** Null where nothing must move: links only, or an anchor. */
  recovery: Recovery | null;
  after: Condition;
}

/** What breaks before a step, and what remains from there on, until the next fault. */
export interface FaultReport {
  faults: Fault[];
  step: number;
  /** GPUs before and after. */
  gpus: [before: number, after: number];
  policies: FaultedPolicy[];
}
