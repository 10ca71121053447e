import type { PlacementMap, PolicyOptions } from '../balancing/index.js';

/** What a robust plan makes small, and what a stress shows of a policy. */
export type Objective = 'time' | 'memory';

/** A cost of one policy over the segments. Seconds per step, or bytes of the fullest GPU at its peak. */
export interface RobustCost {
  /** Over the segments with their given weights. */
  mean: number;
  /** The most expensive segment. */
  worst: { segment: string; cost: number };
  /** In the order of the segments. */
  bySegment: number[];
  /** By radius: cost of the worst mixture within it, and that mixture. */
  curve: { radius: number; cost: number; weights: number[]; divergence: number }[];
}

export interface StressedPolicy {
  policy: PolicyOptions;
  /** Run for comparison only. */
  anchor: boolean;
  exact: boolean;
  time: RobustCost;
  memory: RobustCost;
}

/** A placement on the halves that it was planned on, and on those that it has not seen. */
export interface ScoredPlacement {
  /** Weights of the segments that it was planned for. */
  plannedFor: number[];
  planning: RobustCost;
  heldOut: Record<Objective, RobustCost>;
}

/** A placement planned for the given mixture, and one against the worst mixture within a radius. */
export interface RobustPlan {
  policy: PolicyOptions;
  objective: Objective;
  radius: number;
  /** By round: cost of the worst mixture on the planning halves, that of the mean placement first. */
  rounds: number[];
  /** The round that is kept; 0: none was better than the mean placement. */
  kept: number;
  mean: ScoredPlacement;
  robust: ScoredPlacement;
}

/** What policies cost in the worst mixture of a routing's segments. */
export interface StressReport {
  schema: 'epsim/stress@1';
  version: string;
  inputs: string;
  scenario: { name?: string };
  model: string;
  cluster: { gpu: string; gpus: number; gpusPerNode: number };
  runtime: string;
  layers: number[];
  tokensPerGpu: number;
  /** How the segments were cut, and what their weights are. */
  segments: {
    by: string;
    mix: 'equal' | 'recorded';
    list: { name: string; weight: number; planningSteps: number; scoringSteps: number }[];
  };
  /** Steps before those that are scored, of all segments in turn. */
  warmupSteps: number;
  radii: number[];
  policies: StressedPolicy[];
  plan: RobustPlan | null;
  notes: string[];
}

/** A report, and the placement that it is about. */
export interface Stressed {
  report: StressReport;
  /** The robust placement; null without a plan. */
  map: PlacementMap | null;
}
