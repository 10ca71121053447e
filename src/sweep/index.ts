export type { SweptPlace } from './axes/axis.js';
export { parseManifest, type Manifest, type SweptFile } from './manifest.js';
export { parseSweep, SweepPoints } from './points.js';
export { sweepJsonSchema, type Sweep, type SweepInput } from './schema.js';
export { arrayExpression, defaultPointsPerShard, shardAt, shardCount, type Shard } from './shards.js';
export { maxArraySize, queuedTasks, slurmScript, type SlurmOptions } from './slurm-job.js';
export { dominates, flatness, halvingRounds, survivors } from './halving.js';
export {
  largestFeasible,
  parseLimits,
  type SloBound,
  type SloChoice,
  type SloLimits,
  type SloResult,
} from './slo.js';
export {
  defaultSpace,
  optionOf,
  policyWith,
  settingsOf,
  withRoomFor,
  type Setting,
  type TuneSite,
  type TuneSpace,
} from './tune-space.js';
export { objectives, type Finalist, type ObjectiveName, type TuneResult } from './tuning.js';
export { ThreadQueue, type PointThread } from './thread-queue.js';
