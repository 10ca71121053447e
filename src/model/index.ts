export { shapeFromConfig } from './hugging-face.js';
export {
  attentionProducts,
  flopPerPair,
  gatedProducts,
  headProduct,
  kvBytes,
  layersOf,
  otherWeights,
  pairsOf,
  slicedModel,
  weightBytes,
  wholeModel,
  workspaceBytes,
  type Product,
  type WholeModel,
} from './parts.js';
export { modelPresets } from './presets.js';
export { completeShape, shapeOverridesSchema, shapeSchema, type MoeShape, type ShapeInput } from './shape.js';
export {
  assignBits,
  expertPrecision,
  modelBytes,
  planPrecision,
  precisionCosts,
  precisionPlanSchema,
  precisionSchema,
  rowOfLayer,
  rowsOfLayers,
  sensitivitySchema,
  uniformProxies,
  type ExpertPrecision,
  type PrecisionOptions,
  type PrecisionPlan,
  type Sensitivity,
} from './precision/index.js';
