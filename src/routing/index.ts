export { batchingKinds, batchings, type BatchingKind } from './batching/index.js';
export { CandidateTable } from './candidates.js';
export { countTraceSource } from './count-trace-source.js';
export { generatorSource, type GeneratorSpec } from './generator-source.js';
export { KeptSteps } from './kept-steps.js';
export { freshSources, type RoutingSources } from './routing-sources.js';
export { generators, type GeneratorOptions } from './generators/index.js';
export { powerLawLoads } from './generators/power-law.js';
export { binomial } from './binomial.js';
export { bytesInMemory, MemorySink, type ByteSink, type ByteSource, type Scratch } from './bytes.js';
export { importTrace, traceFormats, type ImportOptions } from './import/index.js';
export { uniformDraw } from './inclusion.js';
export { randomStream, shuffle, type Random } from './random.js';
export { onSurvivors, type LostRequests } from './on-survivors.js';
export { someSteps } from './some-steps.js';
export {
  addLoads,
  NO_EXPERT,
  type Calibration,
  type LayerBatch,
  type Pruned,
  type RoutingSource,
  type RoutingStep,
  type RoutingStream,
  type TokenTable,
} from './source.js';
export { tokenTraceSource, type ReplaySpec } from './token-trace-source.js';
export { joinTraces } from './trace/join-traces.js';
export { selectSequences } from './trace/select-sequences.js';
export { readRecording, RECORDING_PARTS, type RecordingParts } from './trace/npy.js';
export { prunings, pruningOf, type PruningOptions } from './pruning/index.js';
export { prunedSource } from './pruning/pruned-source.js';
export { readNativeTrace } from './trace/native-reader.js';
export { BatchTraceWriter, encodeTokenTrace, writeTokenTrace } from './trace/native-writer.js';
export { rowsInMemory, TRACE_MEMORY, type TokenRowsOptions } from './trace/token-rows.js';
export {
  phases,
  TraceError,
  type CountTrace,
  type Phase,
  type TokenTrace,
  type Trace,
  type TraceHeader,
} from './trace/trace.js';
export { fitTwin } from './twin/fit.js';
export { twinTrace } from './twin/generate.js';
export { twinSchema, type Twin } from './twin/twin.js';
export { packTrace, unpackTrace, type PackedTrace } from './trace/packed-trace.js';
