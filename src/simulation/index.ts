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
export { simulateScenario, withoutSchema } from './simulate-scenario.js';
export {
  MOST_SLICES,
  Recorder,
  type LinkUse,
  type MemorySample,
  type PolicyRecording,
  type RecordedLayer,
  type RecordedSlice,
  type Recording,
} from './recording/index.js';
