export {
  caseSchema,
  measurementsSchema,
  type Case,
  type CollectiveRow,
  type Measurements,
  type MoeLayerRow,
  type Timed,
  type TokenExchangeRow,
} from './measurements.js';
