export { assignBits, precisionCosts } from './assign-bits.js';
export { precisionSchema, type PrecisionOptions } from './options.js';
export {
  expertPrecision,
  modelBytes,
  planPrecision,
  precisionPlanSchema,
  rowOfLayer,
  rowsOfLayers,
  uniformProxies,
  type ExpertPrecision,
  type PrecisionPlan,
} from './plan.js';
export { sensitivitySchema, type Sensitivity } from './sensitivity.js';
