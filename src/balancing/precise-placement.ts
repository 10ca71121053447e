import type { LayerPlan, PlacementMove } from './plan.js';
import type { Placement } from './placement.js';

/**
 * Gives plans the bits at which a model holds its experts. Policies decide as if all experts had the same bits; every
 * slot then has those of its expert, or fewer where the policy lowered them, and so do weights that travel.
 */
export class PrecisePlacements {
  private readonly known: WeakMap<Placement, Placement>[];

  /**
   * @param bits per weight in memory, by layer and expert
   * @param shippedBits what policies take the bits of a slot to be
   */
  constructor(
    private readonly bits: readonly Float64Array[],
    private readonly shippedBits: number,
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
    const { slotExpert, slotBits } = placement;
    const bits = slotBits.map((own, slot) => this.held(own, slotExpert[slot], layer));
    // Shared experts are as shipped, and counted with the first width.
    const widths = Float64Array.from(new Set([this.shippedBits, ...bits])).sort((a, b) => b - a);
    const precise: Placement = {
      ...placement,
      slotBits: bits,
      mixed: widths.length > 1,
      widths,
      slotWidth: Uint8Array.from(bits, (own) => widths.indexOf(own)),
      lowered: Uint8Array.from(bits, (own, slot) => (own < this.bits[layer][slotExpert[slot]] ? 1 : 0)),
    };
    this.known[layer].set(placement, precise);
    return precise;
  }

  private move({ loads, conversions }: PlacementMove, layer: number): PlacementMove {
    return {
      loads: loads.map((load) => ({ ...load, bits: this.held(load.bits, load.expert, layer) })),
      conversions: conversions
        .map((conversion) => ({
          ...conversion,
          fromBits: this.held(conversion.fromBits, conversion.expert, layer),
          toBits: this.held(conversion.toBits, conversion.expert, layer),
        }))
        .filter(({ fromBits, toBits }) => fromBits !== toBits),
    };
  }

  private held(bits: number, expert: number, layer: number): number {
    const own = this.bits[layer][expert];
    return bits === this.shippedBits ? own : Math.min(bits, own);
  }
}
