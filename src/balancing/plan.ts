import type { TokenTable } from '../routing/index.js';
import type { Placement } from './placement.js';

/**
 * Ranges of the copies of an expert that a GPU computes. The copies of an expert are numbered by source GPU
 * (all of GPU 0 first), after dropping. Parallel arrays, of which the first `count` entries count; ranges of
 * one expert stand together, start at 0, touch and end at its load.
 */
export class Slices {
  count = 0;
  expert: Int32Array;
  gpu: Int32Array;
  start: Int32Array;
  end: Int32Array;

  constructor(capacity: number) {
    this.expert = new Int32Array(capacity);
    this.gpu = new Int32Array(capacity);
    this.start = new Int32Array(capacity);
    this.end = new Int32Array(capacity);
  }

  add(expert: number, gpu: number, start: number, end: number): void {
    if (this.count === this.expert.length) this.grow();
    const at = this.count++;
    this.expert[at] = expert;
    this.gpu[at] = gpu;
    this.start[at] = start;
    this.end[at] = end;
  }

  private grow(): void {
    const from = { expert: this.expert, gpu: this.gpu, start: this.start, end: this.end };
    const size = 2 * this.count;
    this.expert = new Int32Array(size);
    this.gpu = new Int32Array(size);
    this.start = new Int32Array(size);
    this.end = new Int32Array(size);
    this.expert.set(from.expert);
    this.gpu.set(from.gpu);
    this.start.set(from.start);
    this.end.set(from.end);
  }
}

/**
 * Copies that every slot computes, by the GPU they come from: what a dispatch rule decides where experts have
 * several instances. Reused from layer to layer.
 */
export class SlotCopies {
  slots = 0;
  /** [source · slots + slot]. */
  copies = new Int32Array(0);

  constructor(readonly gpus: number) {}

  /** Makes room for a number of slots and clears it. */
  reset(slots: number): this {
    if (slots === this.slots) this.copies.fill(0);
    else this.copies = new Int32Array(this.gpus * slots);
    this.slots = slots;
    return this;
  }
}

/** Weights that must travel within a step, as raw as the policy asks for them: a pair may repeat. */
export class WeightTransfers {
  count = 0;
  expert: Int32Array;
  source: Int32Array;
  destination: Int32Array;
  /** The copies for whose sake the weights travel: positions [start, end) of the expert's copies. */
  start: Int32Array;
  end: Int32Array;

  constructor(capacity: number) {
    this.expert = new Int32Array(capacity);
    this.source = new Int32Array(capacity);
    this.destination = new Int32Array(capacity);
    this.start = new Int32Array(capacity);
    this.end = new Int32Array(capacity);
  }

  add(expert: number, source: number, destination: number, start: number, end: number): void {
    if (this.count === this.expert.length) this.grow();
    const at = this.count++;
    this.expert[at] = expert;
    this.source[at] = source;
    this.destination[at] = destination;
    this.start[at] = start;
    this.end[at] = end;
  }

  private grow(): void {
    const from = [this.expert, this.source, this.destination, this.start, this.end];
    const [expert, source, destination, start, end] = from.map((array) => {
      const grown = new Int32Array(2 * this.count);
      grown.set(array);
      return grown;
    });
    Object.assign(this, { expert, source, destination, start, end });
  }
}

/** What an inexact policy leaves out, and what it pads. */
export interface Drop {
  /** Copies kept, [source · experts + expert]. */
  kept: Int32Array;
  /** Rows sent, kept ones and padding, [source · experts + expert]; null: the kept ones. */
  sent: Int32Array | null;
  /** Rows computed per expert, kept ones and padding; null: the kept ones. */
  rows: Int32Array | null;
  /** 1 for every kept copy of the token table, null without one. */
  keptCopies: Uint8Array | null;
  /** Tokens that lose all their copies; null without a token table. */
  tokensLost: number | null;
  /** Share of the gate weights that is kept; null without gate weights. */
  keptGateMass: number | null;
}

/** Copies that an inexact policy gives to other experts than the router chose: the batch as it is computed. */
export interface Rewrite {
  /** Copies, [source · experts + expert]. */
  counts: Int32Array;
  tokens: TokenTable;
  /** Copies whose expert is another one. */
  copies: number;
  /** Scores of the experts chosen instead over those of the router's choice, sums over the batch. */
  keptGateMass: number;
  /** Different GPUs that a token's experts are at home on, sums over tokens: as the router chose, and as rewritten. */
  gpusRouted: number;
  gpusRewritten: number;
}

/** Weights that a new placement moves before the step in which it comes into force. */
export interface PlacementMove {
  /** Slots that were not there before: weights come from `source`, or from host memory where it is −1. */
  loads: { expert: number; source: number; destination: number; bits: number }[];
  /** Slots that are re-quantised in place. */
  conversions: { expert: number; gpu: number; fromBits: number; toBits: number }[];
}

/** A part of a movement that travels while a layer runs. */
export interface BackgroundMove {
  move: PlacementMove;
  /** Share of the bytes of the whole movement that travels beside this layer. */
  share: number;
}

/** Copies of the shared experts, which every GPU holds and every token uses. */
export interface SharedWork {
  /** Shared experts of the model: every copy below stands for one of each. */
  experts: number;
  /** Tokens, [source · gpus + GPU that computes them]. */
  copies: Int32Array;
}

/** A new placement of a layer that was planned in a step, or, in the first one, before the run. */
export interface Planning {
  /** Host seconds of this layer's share of the plan. */
  seconds: number;
  /** The step waits for the plan; else it is made beside steps. */
  stalls: boolean;
  /**
   * γ of the GPUs' loads that the plan expects: of the loads that it knows, every expert's shared evenly by its
   * instances; null where the policy does not say.
   */
  expected: number | null;
}

/** What a policy decides for one layer of one step. */
export interface LayerPlan {
  placement: Placement;
  /** Who computes which copies; an expert without slices is computed at its home; null: all are. */
  slices: Slices | null;
  /** Copies by slot; null: `slices` or homes say who computes what. At most one of both is set. */
  slotCopies: SlotCopies | null;
  /** Weights that travel within this step; null: none. */
  transfers: WeightTransfers | null;
  /** What is dropped or padded; null for exact policies. */
  drop: Drop | null;
  /** The batch that is computed instead of the routed one; absent or null: that. */
  rewrite?: Rewrite | null;
  /** Who computes the shared experts; null: they are not part of the layer. */
  shared?: SharedWork | null;
  /** Set in the step in which a new placement comes into force. */
  move: PlacementMove | null;
  /** Weights of a coming placement that travel beside this step; null: none. */
  background: BackgroundMove | null;
  /** Set in the step in which a new placement is planned. */
  planning: Planning | null;
  /** True where the policy looked at the batch and left it to standard EP. */
  gated: boolean;
  /** True for the anchor `balanced`: equal loads and uniform traffic whatever the routing. */
  uniform: boolean;
}

/** Standard EP's plan on a placement: every copy at its expert's home. */
export function homePlan(placement: Placement): LayerPlan {
  return {
    placement,
    slices: null,
    slotCopies: null,
    transfers: null,
    drop: null,
    move: null,
    background: null,
    planning: null,
    gated: false,
    uniform: false,
  };
}

/** Plans of a policy that looks at every batch: it leaves the batch to standard EP, or divides it by slices. */
export function homeOrDivided(
  placement: Placement,
  { slices, transfers }: { slices: Slices; transfers: WeightTransfers },
): { home: LayerPlan; balanced: LayerPlan } {
  const home = homePlan(placement);
  return { home: { ...home, gated: true }, balanced: { ...home, slices, transfers } };
}
