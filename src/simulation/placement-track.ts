import type { LayerPlan, Placement } from '../balancing/index.js';
import type { Prediction, Rebalance } from './explanation.js';

interface Segment {
  layer: number;
  step: number;
  steps: number;
  expected: number | null;
  realised: number;
  oracle: number;
}

/**
 * Follows the placements that one policy brings into force, layer by layer: what each was expected to do, what it did,
 * and what the same rule would have done with the loads known in advance.
 */
export class PlacementTrack {
  private readonly inForce: (Placement | null)[];
  /** What the plan that was made last expects, and what that of the placement in force did. */
  private readonly promised: (number | null)[];
  private readonly expected: (number | null)[];
  private readonly current: (Segment | null)[];
  private readonly segments: Segment[] = [];

  /** @param layerIds the model's numbers of the layers */
  constructor(private readonly layerIds: readonly number[]) {
    this.inForce = layerIds.map(() => null);
    this.promised = layerIds.map(() => null);
    this.expected = layerIds.map(() => null);
    this.current = layerIds.map(() => null);
  }

  /** Takes what was planned for a layer of a step, and γ of the GPUs' copies that came of it. */
  see({ placement, planning }: LayerPlan, step: number, layer: number, gamma: number): void {
    if (planning) this.promised[layer] = planning.expected;
    if (placement !== this.inForce[layer]) {
      this.inForce[layer] = placement;
      this.expected[layer] = this.promised[layer];
      this.current[layer] = null;
    }
    const expected = this.expected[layer];
    // Nothing was expected of what is in force before the first plan.
    if (step < 0 || expected === null) return;
    let own = this.current[layer];
    if (own === null) {
      own = { layer: this.layerIds[layer], step, steps: 0, expected, realised: 0, oracle: 0 };
      this.current[layer] = own;
      this.segments.push(own);
    }
    own.steps++;
    own.realised += gamma;
  }

  /** Takes what an oracle made of the layer that was seen last. */
  seeOracle(layer: number, gamma: number): void {
    const own = this.current[layer];
    if (own !== null) own.oracle += gamma;
  }

  get prediction(): Prediction | null {
    const { segments } = this;
    const steps = segments.reduce((sum, own) => sum + own.steps, 0);
    if (steps === 0) return null;
    const meanOf = (of: (own: Segment) => number) => segments.reduce((sum, own) => sum + of(own), 0) / steps;
    return {
      expected: meanOf(({ expected, steps: own }) => expected! * own),
      realised: meanOf(({ realised }) => realised),
      oracle: meanOf(({ oracle }) => oracle),
      rebalances: segments.map((own): Rebalance => ({
        ...own,
        realised: own.realised / own.steps,
        oracle: own.oracle / own.steps,
      })),
    };
  }
}
