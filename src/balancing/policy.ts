import type { z } from 'zod';
import type { Sensitivity } from '../model/index.js';
import type { LayerBatch, Phase, TokenTable } from '../routing/index.js';
import type { MilpSolver } from './milp-solver.js';
import type { PlacementMap } from './maps/placement-map.js';
import type { Placement } from './placement.js';
import type { LayerPlan } from './plan.js';

/** Why a policy can't work with a model, cluster or routing. */
export interface Refusal {
  /** The option that is in the way. */
  option: string;
  found: string;
  /** What is allowed, and what to type for it. */
  allowed: string;
}

/** What a policy knows before the run. */
export interface PolicySetting {
  gpus: number;
  gpusPerNode: number;
  experts: number;
  /** Layers that are simulated. */
  layers: number;
  /** The model's own number of each of them. */
  layerIds: readonly number[];
  /** The same as the model counts its layers, those without experts too; default: layerIds. */
  layerNumbers?: readonly number[];
  /** Layers of the model without experts, which come first; default: none. */
  denseLayers?: number;
  /** MoE layers of the model, of which they are a sample. */
  moeLayers: number;
  /** Shared experts of the model, of the width of the others. */
  sharedExperts?: number;
  /** Bits per expert weight. */
  weightBits: number;
  /** Bits of every expert in memory, by layer, where they are not all weightBits. */
  expertBits?: readonly Float64Array[] | null;
  /** Where experts are without the policy's doing. */
  placement: Placement;
  /** Copies of a source GPU in a step where all steps are alike; null where that is not known. */
  copiesPerGpu: number | null;
  hasTokens: boolean;
  hasGateWeights: boolean;
  /** Whether steps say their phase, and batches which copies are padding; default: no. */
  hasPhases?: boolean;
  hasPadding?: boolean;
  /** Candidates of every token whose scores are known; absent: only those of the chosen experts. */
  candidates?: number;
  /** Experts of a token. */
  topK?: number;
  /** Copies by layer and expert of the calibration part for a share of the tokens. */
  calibration: (share: number) => readonly Float64Array[];
  /** The same part, layer by layer and token by token where the routing has tokens; each token in the same place. */
  calibrationLayers?: (share: number) => readonly LayerBatch[];
  /** For placements that are integer programs; null or absent: they are found by greed. */
  solver?: MilpSolver | null;
  /** Importance by layer and expert, where the routing knows it; larger is more important. */
  importance: readonly (readonly number[])[] | null;
  /** Placement maps by the paths that policies name. */
  placementMaps: ReadonlyMap<string, PlacementMap>;
  /** What precisions cost the experts, by the paths that policies name; absent: no policy names any. */
  sensitivities?: ReadonlyMap<string, Sensitivity>;
  seed: number | string;
}

/** What a policy sees when it decides: one layer of one step. */
export interface LayerView {
  step: number;
  layer: number;
  /** Copies, [source · experts + expert]. */
  counts: Int32Array;
  /** Copies by expert. */
  loads: Float64Array;
  /** Tokens by source GPU; null where only counts are known. */
  tokensBySource: Int32Array | null;
  tokens: TokenTable | null;
  /** Copies by expert, among `loads`, of padding; absent where the routing tells none apart. */
  padding?: Int32Array;
  /** Phase of the step, where the routing says it. */
  phase?: Phase;
  /** Seed of the run: draws for a layer and step are named by it, so that they are equal for all policies. */
  seed: number | string;
}

/** The seed of a layer's draws in one step. */
export function drawSeed({ seed, step, layer }: LayerView): string {
  return `${seed}/${step}/${layer}`;
}

/** How long a kernel of the GPU takes to plan a batch. */
export interface PlanKernel {
  seconds: number;
  /** Where the seconds are from. */
  source: string;
}

/**
 * A balancer as a reducer: `decide` takes a state and a view and returns both the next state and a plan. A
 * state is plain data and belongs to the policy, which may write into it; the plan stays valid until the next
 * `decide` on the same state.
 */
export interface Policy<Options = unknown, State = unknown, Input = unknown> {
  kind: string;
  /** One line for `epsim list`. */
  summary: string;
  options: z.ZodType<Options, Input>;
  /** An anchor is a yardstick, not something to run. */
  anchor: boolean;
  /** Knows what nobody can know, so that it shows a limit and is never recommended. */
  hypothetical(options: Options): boolean;
  /** Keeps the model's output, up to the order of floating-point sums. */
  exact(options: Options): boolean;
  /** What its placement and its moves of weights depend on. */
  sees(options: Options): 'nothing' | 'history' | 'batch';
  /** No tie is broken by a GPU's number: renaming GPUs renames the plan. */
  symmetric: boolean;
  /** Decides in every step from counts of the whole batch, so that somebody must exchange and read them. */
  plansEachBatch(options: Options): boolean;
  /** The kernel that plans a batch in what is published of the policy; null: it plans on the host, or nobody knows. */
  planKernel(options: Options): PlanKernel | null;
  /** Weights may travel within a step, for use in it. */
  movesWeights(options: Options): boolean;
  /** Weights of a coming placement may travel beside a step. */
  movesInBackground(options: Options): boolean;
  /** Beside them it keeps a staging buffer of one layer's slots all the time; else arriving weights have one each. */
  keepsStaging(options: Options): boolean;
  /** Shared experts are part of the layer, and every GPU holds them. */
  holdsShared(options: Options): boolean;
  /** Looks at every token where the routing has them. */
  looksAtTokens(options: Options): boolean;
  /** Share of the recording that the policy calibrates on, or 0. */
  calibrationShare(options: Options): number;
  /** Steps until its history is filled. */
  warmup(options: Options): number;
  /** Why it can't work here, or null. */
  refusal(options: Options, setting: PolicySetting): Refusal | null;
  /** Why nothing can be trained with it, or null. */
  trainingRefusal(options: Options): Refusal | null;
  /** Things that a reader of the result must know about what it assumed. */
  notes(options: Options, setting: PolicySetting): string[];
  start(options: Options, setting: PolicySetting): State;
  decide(state: State, view: LayerView): { state: State; plan: LayerPlan };
}

/** The traits of a policy that has nothing special about it. */
export const plainTraits = {
  anchor: false,
  hypothetical: () => false,
  exact: () => true,
  sees: () => 'nothing',
  symmetric: true,
  plansEachBatch: () => false,
  planKernel: () => null,
  movesWeights: () => false,
  movesInBackground: () => false,
  keepsStaging: () => false,
  holdsShared: () => false,
  looksAtTokens: () => false,
  calibrationShare: () => 0,
  warmup: () => 0,
  refusal: () => null,
  trainingRefusal: () => null,
  notes: () => [],
} as const satisfies Partial<Policy>;
