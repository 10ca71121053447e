import type { LayerPlan, PlacementMove } from './plan.js';
import type { Placement } from './placement.js';

/**
 * Gives plans the bits at which a model holds its experts. Policies decide as if all experts had the same bits; every
 * slot, and every weight that travels, then has those of its expert.
 */
export class PrecisePlacements {
  private readonly known: WeakMap<Placement, Placement>[];

  /**
   * @param bits per weight in memory, by layer and expert
   * @param sharedBits those of shared experts, which are counted with the first width; null: there are none
   */
  constructor(
    private readonly bits: readonly Float64Array[],
    private readonly sharedBits: number | null,
  ) {
    this.known = bits.map(() => new WeakMap<Placement, Placement>());
  }

  /** The same plan with a layer's bits. */
  apply(plan: LayerPlan, layer: number): LayerPlan {
    const { background } = plan;
    return {
      ...plan,
      placement: this.placement(plan.placement, layer),
      move: plan.move && this.move(plan.move, layer),
      background: background && { ...background, move: this.move(background.move, layer) },
    };
  }

  private placement(placement: Placement, layer: number): Placement {
    const known = this.known[layer].get(placement);
    if (known) return known;
    const slotBits = Float64Array.from(placement.slotExpert, (expert) => this.bits[layer][expert]);
    const shared = this.sharedBits === null ? [] : [this.sharedBits];
    const widths = Float64Array.from(new Set([...shared, ...slotBits])).sort((a, b) => b - a);
    const precise: Placement = {
      ...placement,
      slotBits,
      mixed: widths.length > 1,
      widths,
      slotWidth: Uint8Array.from(slotBits, (own) => widths.indexOf(own)),
      planned: true,
    };
    this.known[layer].set(placement, precise);
    return precise;
  }

  private move(move: PlacementMove, layer: number): PlacementMove {
    return { ...move, loads: move.loads.map((load) => ({ ...load, bits: this.bits[layer][load.expert] })) };
  }
}
