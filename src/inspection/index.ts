export type { BatchSkew } from './batches.js';
export { inspectTrace, type Inspection, type Level } from './inspect.js';
export type { Estimate } from './resample.js';
export { compareTraces, type Comparison } from './compare.js';
export { routerLoads, type RouterLoads } from './router-loads.js';
export { twinCloseness, type TwinCloseness } from './twin-closeness.js';
