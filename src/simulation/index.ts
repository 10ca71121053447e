export type {
  Fastest,
  OutOfMemory,
  PeakMemory,
  Result,
  PolicyResult,
  RoutingSummary,
  Verdict,
} from './result.js';
export {
  checkPolicies,
  firstPlacements,
  RefusalError,
  simulate,
  type ListedPolicy,
  type SimulationResult,
  type SimulationSpec,
} from './simulate.js';
