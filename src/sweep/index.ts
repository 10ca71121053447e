export type { SweptPlace } from './axes/axis.js';
export { parseManifest, type Manifest, type SweptFile } from './manifest.js';
export { parseSweep, SweepPoints } from './points.js';
export { sweepJsonSchema, type Sweep, type SweepInput } from './schema.js';
export { arrayExpression, defaultPointsPerShard, shardAt, shardCount, type Shard } from './shards.js';
export { maxArraySize, queuedTasks, slurmScript, type SlurmOptions } from './slurm-job.js';
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
  dominates,
  flatness,
  halvingRounds,
  objectives,
  settingsOf,
  survivors,
  type Finalist,
  type ObjectiveName,
  type Setting,
  type TuneResult,
  type TuneSpace,
} from './tuning.js';
