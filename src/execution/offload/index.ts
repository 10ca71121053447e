export type { LoadCounts } from './expert-loader.js';
export { HIGH, LOW, SKIP } from './gate-classes.js';
export {
  cacheSlots,
  OffloadMachine,
  precisionBytes,
  type CacheSlots,
  type OffloadTotals,
} from './offload-machine.js';
export { offloadSchema, strategyLabel, type OffloadOptions, type OffloadStrategy } from './options.js';
export { Prediction } from './prediction.js';
