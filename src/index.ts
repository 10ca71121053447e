export { planLayer, type PlannedLayer, type PlanSetting, type PolicyInput } from './balancing/index.js';
export { FileError } from './files/index.js';
export {
  expertStageSeconds,
  simulateFlows,
  type ExpertShape,
  type Flow,
  type FlowPlatform,
  type Profile,
} from './hardware/index.js';
export { TraceError } from './routing/index.js';
export { run, type RunOptions } from './run.js';
export { ScenarioError, scenarioJsonSchema, type ScenarioInput } from './scenario/index.js';
export { RefusalError, type PolicyResult, type Result } from './simulation/index.js';
export { sweepJsonSchema, type SweepInput } from './sweep/index.js';
export { VERSION } from './version.js';
