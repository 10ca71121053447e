export { LayerLoads, LayerWork, QUANTISED, SHIPPED } from './layer-work.js';
export type { Placement } from './placement.js';
export { contiguous } from './placements/contiguous.js';
export type { LayerPlan, PlacementMove, WeightTransfers } from './plan.js';
export { planLayer, planSettingSchema, type PlannedLayer, type PlanSetting } from './plan-layer.js';
export { policyLabel } from './policies/label.js';
export {
  policies,
  policyOf,
  type PolicyInput,
  type PolicyKind,
  type PolicyOptions,
} from './policies/index.js';
export type { LayerView, Policy, PolicySetting, Refusal } from './policy.js';
