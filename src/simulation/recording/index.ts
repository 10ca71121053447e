export { MOST_EVENTS, Recorder, type RecorderChoice } from './recorder.js';
export type {
  LinkUse,
  MemorySample,
  PolicyRecording,
  RecordedLayer,
  RecordedSlice,
  RecordedStep,
  Recording,
  WeightMove,
} from './recording.js';
