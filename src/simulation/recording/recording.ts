import type { MemoryCategory, Phase } from '../../execution/index.js';

/** What a stream did for a while: one bar of a timeline. Times are seconds from the start of its step. */
export interface RecordedSlice {
  gpu: number;
  /** The runtime's name of the stream, as `compute`. */
  stream: string;
  /** `wait`: the GPU is ready for an exchange that others are not ready for. */
  phase: Phase | 'wait';
  start: number;
  end: number;
  /** What the time was made of: copies, bytes, and seconds of the formula's terms. */
  facts: Readonly<Record<string, number | string>>;
}

/** Bytes in use on a GPU from a time on. */
export interface MemorySample {
  gpu: number;
  /** Seconds from the start of the step. */
  time: number;
  /** Bytes by category, in the order of `MEMORY_CATEGORIES`. */
  bytes: number[];
}

/** What a transfer put on one link of a GPU while it ran. */
export interface LinkUse {
  gpu: number;
  link: 'NVLink out' | 'NVLink in' | 'NIC out' | 'NIC in';
  start: number;
  end: number;
  bytes: number;
}

/** Weights of one expert that travelled within a step, with the seconds of the transfer that they were part of. */
export interface WeightMove {
  expert: number;
  source: number;
  destination: number;
  start: number;
  end: number;
}

/** One layer of a recorded step. */
export interface RecordedLayer {
  /** As the routing numbers it. */
  layer: number;
  start: number;
  end: number;
  slices: RecordedSlice[];
  memory: MemorySample[];
  links: LinkUse[];
  moves: WeightMove[];
}

/** One step of one policy, layer after layer. */
export interface RecordedStep {
  /** From 0, warm-up included. */
  step: number;
  layers: RecordedLayer[];
  /** After the last layer of scope `model`. */
  head?: RecordedSlice[];
}

/** What was seen of one policy. */
export interface PolicyRecording {
  /** Index among the result's policies. */
  policy: number;
  /** Bytes that tensors may use on a GPU. */
  memoryLimit: number;
  steps: RecordedStep[];
  /**
   * Seconds of the layers of the steps that count, rising: all of them where they are few, else evenly spaced
   * quantiles from the smallest to the largest.
   */
  seconds: number[];
  /** Mean copies that GPUs compute per step, [layer][gpu]. */
  loads: number[][];
  /**
   * Mean copies of the fullest GPU of a layer and step, of the one after it, and so on: what means by GPU hide where
   * another GPU is the fullest in every layer.
   */
  rankedLoads: number[];
  /** Mean copies from each source GPU to each GPU per layer and step, [source][gpu]; local ones included. */
  traffic: number[][];
}

/** What pictures are drawn from; plain data. */
export interface Recording {
  schema: 'epsim/recording@1';
  gpus: number;
  layers: number[];
  memoryCategories: readonly MemoryCategory[];
  /** Mean copies that GPUs would compute per step with every copy at home, [layer][gpu]. */
  homeLoads: number[][];
  policies: PolicyRecording[];
  /** What was asked for and is not there; null: nothing. */
  leftOut: string | null;
}
