import type { MilpSolver, Placement, PlacementMap, PolicyOptions } from '../balancing/index.js';
import type { Contexts, Machine, RuntimeOptions, TrainingOptions } from '../execution/index.js';
import type { Sensitivity } from '../model/index.js';
import type { RoutingSource } from '../routing/index.js';
import type { KeptRuns, Watcher } from './kept-runs.js';
import type { HeadObserver, LayerObserver, TaskObserver } from './pass.js';
import type { TrainingRun } from './training-run.js';

/** A policy of a run. */
export interface ListedPolicy {
  options: PolicyOptions;
  /** Not asked for, but run for comparison. */
  anchor: boolean;
}

/** What to simulate. */
export interface SimulationSpec {
  source: RoutingSource;
  /** Among them `ep`, which speed-ups refer to. */
  policies: readonly ListedPolicy[];
  machine: Machine;
  runtime: RuntimeOptions;
  /** What the steps of scope `model` look back at; null or left out: scope `layer`. */
  contexts?: Contexts | null;
  /** Null or left out: the steps are inference. */
  training?: TrainingOptions | null;
  seed: number | string;
  /** Steps before those that count; null: as many as the policies' histories need. */
  warmup: number | null;
  /** Replicates for intervals over sequences; null: as many as a few seconds allow. */
  resamples: number | null;
  /** Placement maps by the paths that policies name. */
  placementMaps?: ReadonlyMap<string, PlacementMap>;
  /** What precisions cost the experts, by the paths that policies name. */
  sensitivities?: ReadonlyMap<string, Sensitivity>;
  /** For placements that are integer programs. */
  solver?: MilpSolver | null;
  /** Where experts are without a policy's doing; default: in order, as standard EP has them. */
  standard?: Placement;
  /** Called after every step with the number of steps done and of all steps, replicates included. */
  onStep?: (done: number, of: number) => void;
  /** Called after every simulated layer, of replicates apart. */
  onLayer?: LayerObserver;
  /** Called after the tasks of every simulated layer. */
  onTasks?: TaskObserver;
  /** Called after the head of every step of scope `model`, of replicates apart. */
  onHead?: HeadObserver;
  /** Called after every training step of a policy; for tests. */
  onTrainingStep?: (run: TrainingRun, seconds: number) => void;
  /**
   * Runs of simulations that differ in their policies alone, which are not run again; nobody sees them but `watcher`,
   * whose `onLayer` the spec has then. Unused where somebody else looks.
   */
  kept?: {
    runs: KeptRuns;
    /** All that the spec was made of, but its source, its policies, and what is in the files that are named. */
    scenario: string;
    watcher?: Watcher;
  };
}
