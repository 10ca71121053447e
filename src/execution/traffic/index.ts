export { EVERY_TOKEN, EveryToken } from './every-token.js';
export { GROUP_WISE, GroupWise } from './group-wise.js';
export { countedNote, OncePerGpu, oncePerGpuFloor } from './once-per-gpu.js';
export { PER_COPY, PerCopy } from './per-copy.js';
export type { Traffic, TrafficFloor, TrafficInput } from './traffic.js';
