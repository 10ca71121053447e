export { engines, type Engine } from './engines.js';
export { describeIssue, pathText, show, type DescribedIssue } from './describe-issue.js';
export { parseInput, parsePath, parsePolicy, parseScenario, setPath, setValue } from './parse.js';
export {
  filesOf,
  resolveModel,
  resolveScenario,
  type ResolvedScenario,
  type ScenarioContents,
  type ScenarioFiles,
} from './resolve.js';
export type { PrecisionSummary } from './precision.js';
export { partsOf, ScenarioError } from './scenario-error.js';
export { scenarioJsonSchema, type Scenario, type ScenarioInput } from './schema.js';
