import type { ExchangeCost } from '../../hardware/index.js';
import type { RowLayout, RowsOfGpu } from '../row-layout.js';
import type { Traffic } from '../traffic/index.js';
import type { ServingHost } from './serving-host.js';

/** Hidden states and results travel and lie in 16 bits wherever they are not quantised. */
export const HIDDEN_BYTES = 2;

/** One direction of the exchange. */
export interface ServingExchange {
  /** Bytes of a message. */
  bytes: number;
  /** null: the profile's links. */
  cost: ExchangeCost | null;
}

/** What a GPU holds in one layer, for the sizes of its buffers. */
export interface ServingLoad extends RowsOfGpu {
  /** Tokens (or copies, where each travels by itself) that it receives. */
  received: number;
}

/** Bytes of a GPU's buffers besides the layer's input and output. */
export interface ServingBuffers {
  /** What the dispatch writes; until the experts are done. */
  received(load: ServingLoad): number;
  /** Between the experts' products. */
  intermediates(load: ServingLoad): number;
  /** What the combine sends. */
  results(load: ServingLoad): number;
}

/** What runs while messages travel: nothing; the shared experts; the other half of the batch. */
export type Overlap = 'none' | 'shared-expert' | 'two-batch';

/** How a serving engine runs the layer. */
export interface ServingCosts {
  /** @returns a counter for one part of a batch */
  traffic: () => Traffic;
  dispatch: ServingExchange;
  combine: ServingExchange;
  layout: RowLayout;
  /** GPUs that share every expert, each with a slice of its hidden width. */
  expertTensorParallel: number;
  /** GPUs that share a token's attention: its output is summed, and the layer's output gathered, among them. */
  attentionTensorParallel: number;
  /** What enters the kernels of the experts: every row by itself, or tokens with all their choices. */
  entering: 'rows' | 'tokens';
  /**
   * Whether every GPU knows all counts once tokens have arrived, so that policies that plan each batch plan then and
   * nothing is exchanged for them; else they exchange counts and plan before the dispatch.
   */
  plansOnArrival: boolean;
  /** Whether tokens that only fill a captured batch travel too. */
  sendsPadding: boolean;
  /** Rows that one slot can get at most. */
  mostRowsPerSlot: number;
  buffers: ServingBuffers;
  host: ServingHost;
  /** Whether a kernel of its own quantises hidden states before the dispatch. */
  quantises: boolean;
  overlap: Overlap;
  /** What a kernel takes while messages travel, over what it takes alone. */
  slowdown: number;
}

/** Parts that a batch, or a wave of it, runs in. */
export function partsOf(overlap: Overlap): 1 | 2 {
  return overlap === 'two-batch' ? 2 : 1;
}
