export { kindOf } from './choice.js';
export { BatchParts, type PlannedBatch } from './batch-parts.js';
export { dispatchRules } from './dispatch/index.js';
export { historyRules } from './history/index.js';
export { InstanceLoads } from './instance-loads.js';
export { LayerLoads, LayerWork } from './layer-work.js';
export { placementOf, slotsByGpu, type Placement } from './placement.js';
export { placementRules } from './placements/index.js';
export { contiguous } from './placements/contiguous.js';
export { PrecisePlacements } from './precise-placement.js';
export { mapFormats, readPlacementMap } from './maps/index.js';
export type { PlacementMap } from './maps/placement-map.js';
export type { MilpSolver } from './milp-solver.js';
export { movementRules } from './movement/index.js';
export type { BackgroundMove, LayerPlan, PlacementMove, Planning, WeightTransfers } from './plan.js';
export {
  planLayer,
  policyOptions,
  planSettingSchema,
  type PlannedLayer,
  type PlanSetting,
} from './plan-layer.js';
export { policyLabel } from './policies/label.js';
export {
  isYardstick,
  oracleOf,
  plannedOnce,
  policies,
  policyOf,
  traitsOf,
  type PolicyInput,
  type PolicyKind,
  type PolicyOptions,
  type PolicyTraits,
} from './policies/index.js';
export type { LayerView, Policy, PolicySetting, Refusal } from './policy.js';
