export { addCriticalSeconds, criticalBefore, criticalEnd } from './critical-path.js';
export { EventQueue } from './event-queue.js';
export { Executor } from './executor.js';
export type { Fabric } from './fabric.js';
export { LiveTasks } from './live-tasks.js';
export { MaxMinFabric } from './max-min-fabric.js';
export { MemoryLedger, type MemoryOverflow, type MemoryPeak } from './memory-ledger.js';
export { PortFabric } from './port-fabric.js';
export { TaskGraphBuilder, type Lifetime, type TaskGraph, type TaskWork } from './task-graph.js';
