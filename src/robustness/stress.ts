import { policyOf, type PlacementMap, type PolicyOptions } from '../balancing/index.js';
import type { RoutingSource } from '../routing/index.js';
import {
  firstPlacements,
  simulate,
  type ListedPolicy,
  type PolicyResult,
  type SimulationSpec,
} from '../simulation/index.js';
import { bestOf, planRobustly, type PlannedCosts } from './plan-robustly.js';
import type { Objective, RobustCost, RobustPlan, ScoredPlacement, StressedPolicy } from './report.js';
import { after, calibratedOn, inTurn, loadsPerToken } from './segment-source.js';
import type { Segment } from './segment.js';
import { worstMixture } from './worst-mixture.js';

/** Where policies are compared: everything of a run but its routing and its policies. */
export type Site = Omit<SimulationSpec, 'source' | 'policies' | 'warmup' | 'resamples' | 'onStep'>;

export interface StressSpec {
  segments: readonly Segment[];
  /** Weights of the segments, which sum to 1. */
  given: Float64Array;
  /** Radii of the curve, rising. */
  radii: readonly number[];
  policies: readonly ListedPolicy[];
  site: Site;
  /** Steps of all segments in turn before those that are scored; null: as many as the policies' histories need. */
  warmup: number | null;
  plan: PlanSpec | null;
  /** Called after every simulated segment. */
  onSegment?: () => void;
}

/** How to plan against the worst mixture. */
export interface PlanSpec {
  /** Plans from a calibration. */
  policy: Extract<PolicyOptions, { kind: 'eplb' }>;
  objective: Objective;
  radius: number;
  rounds: number;
}

/** Share of the way to the worst weights that a round of planning goes. */
const RATE = 0.5;
/** Names that stand for the placements in force, where maps of files stand by their paths. */
const MEAN = 'mean placement';
const ROBUST = 'robust placement';

/**
 * Runs all policies on every segment and looks for the mixture that costs each of them most.
 * @throws RefusalError where a policy can't work with this model, cluster or routing
 */
export function stress(spec: StressSpec): {
  policies: StressedPolicy[];
  plan: RobustPlan | null;
  map: PlacementMap | null;
  warmupSteps: number;
  notes: string[];
} {
  const { segments, policies, plan } = spec;
  const warmup = spec.warmup ?? Math.max(...policies.map(({ options }) => policyOf(options).warmup(options)));
  const planned = plan === null ? null : planOf(spec, plan);
  const placements = planned === null ? [] : [planned.mean.placed, planned.robust.placed];
  const heldOut: ListedPolicy[] = [
    ...policies,
    ...placements.map((_, i) => ({
      options: placedBy(plan!.policy, [MEAN, ROBUST][i]),
      anchor: false,
    })),
  ];
  const maps = new Map([
    ...(spec.site.placementMaps ?? []),
    ...placements.map((map, i) => [[MEAN, ROBUST][i], map] as const),
  ]);
  const planningHalves = segments.map(({ planning }) => planning);
  const before = inTurn(planningHalves, warmup);
  const notes = new Set<string>();
  const scored = segments.map(({ scoring }) => {
    const source = calibratedOn(after(before, scoring), planningHalves);
    const { routing, policies: results } = simulate({
      ...spec.site,
      source,
      policies: heldOut,
      warmup,
      resamples: 0,
      placementMaps: maps,
    });
    routing.notes.forEach((note) => notes.add(note));
    spec.onSegment?.();
    return results;
  });
  const costsOf = (policy: number, objective: Objective) =>
    robustCost(
      spec,
      scored.map((results) => costOf(results[policy], objective)),
    );
  const scoredPlacement = (own: PlannedCosts<PlacementMap>, at: number): ScoredPlacement => ({
    plannedFor: [...own.weights],
    planning: robustCost(spec, own.costs),
    heldOut: { time: costsOf(policies.length + at, 'time'), memory: costsOf(policies.length + at, 'memory') },
  });
  return {
    policies: policies.map(({ options, anchor }, i) => ({
      policy: options,
      anchor,
      exact: policyOf(options).exact(options),
      time: costsOf(i, 'time'),
      memory: costsOf(i, 'memory'),
    })),
    plan: planned && {
      ...plan!,
      rounds: planned.tried.map(({ value }) => value),
      kept: planned.tried.indexOf(planned.robust),
      mean: scoredPlacement(planned.mean, 0),
      robust: scoredPlacement(planned.robust, 1),
    },
    map: planned?.robust.placed ?? null,
    warmupSteps: warmup,
    notes: [...notes],
  };
}

function costOf({ stepLatency, peakMemory }: PolicyResult, objective: Objective): number {
  return objective === 'time' ? stepLatency.mean : peakMemory.max;
}

function robustCost({ segments, given, radii }: StressSpec, costs: readonly number[]): RobustCost {
  const worst = costs.indexOf(Math.max(...costs));
  return {
    mean: worstMixture(costs, given, 0).value,
    worst: { segment: segments[worst].name, cost: costs[worst] },
    bySegment: [...costs],
    curve: radii.map((radius) => {
      const { value, weights, divergence } = worstMixture(costs, given, radius);
      return { radius, cost: value, weights: [...weights], divergence };
    }),
  };
}

/** The alternation on the planning halves: EPLB for a mixture's loads, simulated on every segment. */
function planOf(spec: StressSpec, plan: PlanSpec) {
  const { segments, given, site } = spec;
  const { policy, objective, radius, rounds } = plan;
  const sources = segments.map(({ planning }) => planning);
  const loads = sources.map(loadsPerToken);
  const known = new Map<string, number[]>();
  const tried = planRobustly<PlacementMap>({
    given,
    radius,
    rounds,
    rate: RATE,
    place: (weights) =>
      firstPlacements({ ...site, source: withLoads(sources[0], mixed(loads, weights)) }, policy),
    cost(map) {
      const key = JSON.stringify(map);
      const costs =
        known.get(key) ?? sources.map((source) => costOnSegment(site, source, policy, map, objective));
      known.set(key, costs);
      return costs;
    },
  });
  return { tried, mean: tried[0], robust: bestOf(tried) };
}

function costOnSegment(
  site: Site,
  source: RoutingSource,
  policy: PlanSpec['policy'],
  map: PlacementMap,
  objective: Objective,
): number {
  const { policies } = simulate({
    ...site,
    source,
    policies: [
      { options: placedBy(policy, ROBUST), anchor: false },
      // What speed-ups refer to.
      { options: { kind: 'ep' }, anchor: true },
    ],
    warmup: 0,
    resamples: 0,
    placementMaps: new Map([[ROBUST, map]]),
  });
  return costOf(policies[0], objective);
}

/** The same policy on a placement that is given by name. */
function placedBy(policy: PlanSpec['policy'], path: string): PolicyOptions {
  return { ...policy, slots: null, placement: { kind: 'file', path } };
}

/** Loads by layer and expert of a mixture. */
function mixed(loads: readonly Float64Array[][], weights: Float64Array): Float64Array[] {
  return loads[0].map((first, layer) =>
    first.map((_, expert) =>
      loads.reduce((sum, own, segment) => sum + weights[segment] * own[layer][expert], 0),
    ),
  );
}

/** A source whose calibration is so many copies per token, by layer and expert. */
function withLoads(source: RoutingSource, loads: Float64Array[]): RoutingSource {
  return { ...source, calibration: () => ({ loads, tokens: 1, layers: [], label: 'a mixture of segments' }) };
}
