export type {
  Fastest,
  OutOfMemory,
  PeakMemory,
  Result,
  PolicyResult,
  RoutingSummary,
  TrainingResult,
  Verdict,
} from './result.js';
export { RefusalError } from './refusal-error.js';
export {
  checkPolicies,
  firstPlacements,
  simulate,
  type ListedPolicy,
  type SimulationResult,
  type SimulationSpec,
} from './simulate.js';
