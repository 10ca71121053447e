export type {
  Objective,
  RobustCost,
  RobustPlan,
  ScoredPlacement,
  Stressed,
  StressedPolicy,
  StressReport,
} from './report.js';
export { parseSegments, type Segment, type SegmentChoice } from './segment.js';
export { stress, type PlanSpec } from './stress.js';
export { equalWeights, largestRadius } from './worst-mixture.js';
