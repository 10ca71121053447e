export type { LeadingSeconds } from './leading-work.js';
export { combineBytes, dispatchBytes, type Machine, type TimedKernel } from './machine.js';
export {
  accountOf,
  expertBytes,
  FRAGMENTATION_SHARE,
  LAYER_CATEGORIES,
  MEMORY_CATEGORIES,
  MODEL_CATEGORIES,
  newLedger,
  NON_TENSOR_BYTES,
  Residency,
  TRAINING_CATEGORIES,
  type LayerCategory,
  type MemoryCategory,
} from './memory.js';
export { ModelParts, type Contexts, type GpuTokens } from './model-parts.js';
export {
  cacheSlots,
  HIGH,
  LOW,
  OffloadMachine,
  offloadSchema,
  precisionBytes,
  Prediction,
  SKIP,
  strategyLabel,
  type CacheSlots,
  type LoadCounts,
  type OffloadOptions,
  type OffloadStrategy,
  type OffloadTotals,
} from './offload/index.js';
export { PHASES, SOURCE_OF_PHASE, TIME_SOURCES, type Phase, type TimeSource } from './phases.js';
export { LayerAmounts } from './layer-amounts.js';
export { pipelineSteps, warmupOfStage, type PipelineStep } from './pipeline.js';
export { BlockingMovement } from './placement-movement.js';
export type {
  LayerInput,
  LayerPart,
  LayerProgram,
  ProgramContext,
  Rendezvous,
  Runtime,
  RuntimeDefinition,
} from './runtime.js';
export { PER_COPY, type TrafficFloor } from './traffic/index.js';
export { createRuntime, runtimes, type RuntimeOptions } from './runtimes/index.js';
export {
  PASSES,
  residentTraining,
  trainingSchema,
  type GradientBytes,
  type Pass,
  type StageProgram,
  type TrainingOptions,
} from './training.js';
