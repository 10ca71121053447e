import type { LayerLoads, LayerPlan, LayerWork } from '../../balancing/index.js';
import type { TokenTable } from '../../routing/index.js';

/** What the messages of a layer depend on. */
export interface TrafficInput {
  plan: LayerPlan;
  work: LayerWork;
  base: LayerLoads;
  /** null where only counts are known. */
  tokens: TokenTable | null;
  /** Tokens by source GPU. */
  tokensBySource: ArrayLike<number>;
}

/**
 * What the dispatch of a layer puts on the network; the combine sends the same messages back where they came from.
 */
export interface Traffic {
  /**
   * Messages from GPU to GPU, [from · gpus + to], hop by hop: one that is forwarded counts on every hop. Those to the
   * GPU itself use no port. The array is reused.
   */
  messages(input: TrafficInput): Float64Array;
  /** Tokens (or copies, where each travels by itself) that each GPU receives, its own included; of the last input. */
  readonly received: Float64Array;
}

/** Which messages must cross the network, for the lower bound of a step (invariant 7). */
export interface TrafficFloor {
  /** Whether the messages are the same whatever a plan says. */
  fixed: boolean;
  /** Copies of a token that one message may stand for. */
  copiesPerMessage: number;
  /** Whether a message to another node enters it by the GPU with its sender's index. */
  relayed: boolean;
}
