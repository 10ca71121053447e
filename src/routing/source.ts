import type { CandidateTable } from './candidates.js';
import type { Phase } from './trace/trace.js';

/** Stands for the expert of a copy that was pruned: nobody computes it, and it is in no count. */
export const NO_EXPERT = 0xffff;

/** Who goes where, token by token, in one layer of one step. */
export interface TokenTable {
  /** Tokens of all source GPUs. */
  count: number;
  topK: number;
  /** Expert of every copy, [token · topK + choice], the router's first choice first; or NO_EXPERT. */
  experts: Uint16Array;
  /** Source GPU of every token. */
  source: Uint16Array;
  /** Gate weight of every copy, or null where the routing has none. */
  weights: Float32Array | null;
  /** Experts that tokens could use besides, with their scores; absent where only the chosen ones are known. */
  candidates?: CandidateTable;
  /** Never written into again, so that what follows from it may be kept beside it. */
  lasting?: true;
}

/** The routing of one layer in one step. */
export interface LayerBatch {
  /** Index among the layers of the source. */
  layer: number;
  /** Copies, [source GPU · experts + expert]. */
  counts: Int32Array;
  tokens: TokenTable | null;
  /** Copies by expert, among `counts`, of padding and dummy tokens; absent where the routing tells none apart. */
  padding?: Int32Array;
  /** What was pruned of it: copies and gate weights that the router chose, and what is left of them. */
  pruned?: Pruned;
}

/** Copies and sums of gate weights. */
export interface Pruned {
  copies: number;
  kept: number;
  gateMass: number;
  keptGateMass: number;
}

/** One pass of a batch. Its arrays are reused by the next step. */
export interface RoutingStep {
  step: number;
  /** Tokens of all source GPUs. */
  tokens: number;
  /** Tokens by source GPU. */
  tokensBySource: Int32Array;
  layers: LayerBatch[];
  /** prefill where any of its tokens is of a prompt, as engines count; absent where the routing does not say. */
  phase?: Phase;
}

/** What policies that plan ahead may learn from before the run. */
export interface Calibration {
  /** Copies by layer and expert. */
  loads: Float64Array[];
  /** Tokens that the loads were counted from. */
  tokens: number;
  /** The routing that they were counted from. */
  layers: LayerBatch[];
  /** Where they come from, for the result. */
  label: string;
}

/** A stream of steps that can be started over: every policy of a run sees the same. */
export interface RoutingSource {
  gpus: number;
  experts: number;
  topK: number;
  /** The model's own number of each layer that the source holds. */
  layerIds: readonly number[];
  /** layerIds count MoE layers alone, from 0: nothing was recorded that had numbers of its own. */
  countsMoeLayers?: boolean;
  steps: number;
  /** Tokens of a step where all steps are alike. */
  tokensPerGpu: number;
  hasTokens: boolean;
  hasGateWeights: boolean;
  /** Whether its steps say their phase, and its batches which copies are padding; default: no. */
  hasPhases?: boolean;
  hasPadding?: boolean;
  /** Candidates of every token, the chosen experts among them; absent: only those are known. */
  candidates?: number;
  /** Tokens may have fewer copies than topK. */
  prunes?: boolean;
  /** Importance of every expert by layer, where the source knows it; larger is more important. */
  importance: readonly (readonly number[])[] | null;
  /** Steps after which all sequences are new ones; left out where nobody knows. */
  sequenceSteps?: number;
  /** The calibration part for a policy that asks for this share of the tokens. */
  calibration(share: number): Calibration;
  /** Things that a reader of the result must know about the routing. */
  notes: readonly string[];
  /** Steps from the first one on. */
  start(): RoutingStream;
  /** The same workload over sequences drawn with replacement; null where there are no sequences. */
  resample: ((seed: string) => RoutingSource) | null;
}

export interface RoutingStream {
  /** The next step, or null after the last. */
  next(): RoutingStep | null;
}

/** Adds counts [source · experts + expert] to loads by expert. */
export function addLoads(counts: Int32Array, experts: number, loads: Float64Array): Float64Array {
  for (let row = 0; row < counts.length; row += experts) {
    for (let expert = 0; expert < experts; expert++) loads[expert] += counts[row + expert];
  }
  return loads;
}
