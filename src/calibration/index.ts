export { fitProfile } from './fit/profile.js';
export { caseKey, describeCase } from './cases.js';
export { importTable } from './import/import-table.js';
export { IMPORT_FORMATS, type ImportFormat, type ImportOptions } from './import/import-options.js';
export { joinMeasurements } from './import/join-measurements.js';
export { MeasurementError } from './measurement-error.js';
export { estimateSeconds } from './measurement-estimate.js';
export {
  longRunCases,
  measurementPlan,
  PLAN_NAMES,
  type MeasurementPlan,
  type PlanName,
} from './measurement-plan.js';
export {
  caseSchema,
  measurementsSchema,
  timedSchema,
  type Case,
  type CollectiveRow,
  type Measurements,
  type MoeLayerRow,
  type PublishedRow,
  type Timed,
  type TokenExchangeRow,
} from './measurements.js';
export { measurementsText, readMeasurements } from './read-measurements.js';
export { isMet, type Gate } from './validate/gate.js';
export {
  breakEvenTokens,
  leaveOneFigureOutGates,
  llepPaperGates,
  memoryGates,
} from './validate/llep-paper.js';
export { kernelGates, networkGates } from './validate/tables.js';
