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
export { BalanceObserver } from './balance-observer.js';
export type { BalanceReport, PolicyBalance } from './balance-report.js';
export { Explainer } from './explainer.js';
export type { Explanation, HotInstance, PolicyExplanation, Prediction, Rebalance } from './explanation.js';
export type { OffloadResult, OffloadStrategyResult } from './offload-result.js';
export { checkOffload, offloadOf } from './offload-run.js';
export { KeptRuns } from './kept-runs.js';
export type { LayerObserver, LayerPosition, TaskObserver } from './pass.js';
export { checkFaults, type FaultedPolicy, type FaultReport } from './faults/index.js';
export { RefusalError } from './refusal-error.js';
export { checkPolicies, firstPlacements, simulate, type SimulationResult } from './simulate.js';
export { simulateScenario, withoutSchema } from './simulate-scenario.js';
export type { ListedPolicy, SimulationSpec } from './simulation-spec.js';
export {
  MOST_EVENTS,
  Recorder,
  type LinkUse,
  type MemorySample,
  type PolicyRecording,
  type RecordedLayer,
  type RecordedSlice,
  type Recording,
} from './recording/index.js';
