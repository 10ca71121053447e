export { batchingKinds, batchings, type BatchingKind } from './batching/index.js';
export { countTraceSource } from './count-trace-source.js';
export { generatorSource, type GeneratorSpec } from './generator-source.js';
export { generators, type GeneratorOptions } from './generators/index.js';
export { powerLawLoads } from './generators/power-law.js';
export { binomial } from './binomial.js';
export { uniformDraw } from './inclusion.js';
export { randomStream, shuffle, type Random } from './random.js';
export {
  addLoads,
  type Calibration,
  type LayerBatch,
  type RoutingSource,
  type RoutingStep,
  type RoutingStream,
  type TokenTable,
} from './source.js';
export { tokenTraceSource, type ReplaySpec } from './token-trace-source.js';
export { readRecording, RECORDING_PARTS, type RecordingParts } from './trace/npy.js';
export { BatchTraceWriter, encodeTokenTrace, readNativeTrace } from './trace/parquet.js';
export {
  TraceError,
  type CountTrace,
  type Phase,
  type TokenTrace,
  type Trace,
  type TraceHeader,
} from './trace/trace.js';
