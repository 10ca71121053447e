export { shapeFromConfig } from './hugging-face.js';
export { modelPresets } from './presets.js';
export { completeShape, shapeOverridesSchema, shapeSchema, type MoeShape, type ShapeInput } from './shape.js';
