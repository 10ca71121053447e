import { z } from 'zod';
import { evenSlots, placementOf, type Placement } from '../placement.js';
import { layerByLayer, type PlacementRule, type PlacementSite } from './rule.js';

const options = z.strictObject({
  kind: z.literal('spare-replicas'),
  spareSlots: z
    .int()
    .min(1)
    .default(2)
    .describe('Slots of a GPU for replicas, beside those of its own experts.'),
  arrivals: z
    .int()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      'Most replicas that a GPU receives in one plan, so that their way can be hidden; null: all its spare slots.',
    ),
});

type Options = z.output<typeof options>;

/**
 * Standard EP's experts stay where they are; only spare slots change hands. While a GPU is expected above the mean, a
 * replica of its largest expert goes to the least loaded GPU that may still receive one, and takes as many copies as
 * one has too many or the other too few. Slots that no replica needs keep what they hold, and move nothing.
 */
export const spareReplicas: PlacementRule<Options, z.input<typeof options>> = {
  kind: 'spare-replicas',
  summary: 'experts stay at home; spare slots of a GPU hold replicas of the hottest ones',
  options,
  adapts: true,
  slots: ({ spareSlots }, { gpus, experts }) => experts + spareSlots * gpus,
  initial,
  refusal: ({ spareSlots }, { gpus, experts }) =>
    gpus === 1 || spareSlots > experts
      ? {
          option: 'spareSlots',
          found: `${spareSlots} on ${gpus} GPUs with ${experts} experts`,
          allowed: gpus === 1 ? 'more GPUs: a replica needs a second one' : `at most ${experts}`,
        }
      : null,
  start(chosen, site) {
    return layerByLayer((loads, current) => refilled(chosen, site, loads.sum, current));
  },
};

/** Every GPU's own experts, then spare slots with experts of the GPUs after it. */
function initial({ spareSlots }: Options, site: PlacementSite): Placement {
  const { gpus, experts } = site;
  const next = evenSlots(experts, gpus);
  return withSpares(
    site,
    Array.from({ length: gpus }, (_, gpu) =>
      Array.from({ length: spareSlots }, (__, spare) => (next[gpu + 1] + spare) % experts),
    ),
  );
}

function withSpares(
  { gpus, experts, weightBits, placement }: PlacementSite,
  spares: readonly number[][],
): Placement {
  const own: number[][] = Array.from({ length: gpus }, () => []);
  placement.home.forEach((gpu, expert) => own[gpu].push(expert));
  const slots = own.map((kept, gpu) => [...kept, ...spares[gpu]]);
  return placementOf(slots, experts, weightBits, placement.home);
}

/** Spare slots of every GPU under a placement of this rule. */
function sparesOf({ gpus, firstSlot, slotExpert }: Placement, spareSlots: number): number[][] {
  return Array.from({ length: gpus }, (_, gpu) =>
    Array.from(slotExpert.subarray(firstSlot[gpu + 1] - spareSlots, firstSlot[gpu + 1])),
  );
}

/** A placement with better spare slots, or null where no weights would have to move. */
function refilled(
  { spareSlots, arrivals }: Options,
  site: PlacementSite,
  loads: Float64Array,
  current: Placement,
): Placement | null {
  const spares = new Spares(site, sparesOf(current, spareSlots), arrivals ?? spareSlots);
  spares.choose(loads);
  return spares.arrived.some((count) => count > 0) ? withSpares(site, spares.filled()) : null;
}

/** Spare slots of all GPUs while replicas are chosen for them. */
class Spares {
  /** Replicas that a GPU does not hold yet. */
  readonly arrived: Int32Array;

  private readonly wanted: number[][];
  private readonly gpuLoads: Float64Array;
  private mean = 0;

  /**
   * @param held experts in the spare slots of every GPU today
   * @param arrivals most replicas that a GPU receives
   */
  constructor(
    private readonly site: PlacementSite,
    private readonly held: readonly (readonly number[])[],
    private readonly arrivals: number,
  ) {
    this.arrived = new Int32Array(site.gpus);
    this.wanted = held.map(() => []);
    this.gpuLoads = new Float64Array(site.gpus);
  }

  choose(loads: Float64Array): void {
    const { gpuLoads, wanted, held, arrived, site } = this;
    const { home } = site.placement;
    const atHome = Float64Array.from(loads);
    home.forEach((gpu, expert) => (gpuLoads[gpu] += loads[expert]));
    this.mean = gpuLoads.reduce((sum, load) => sum + load, 0) / site.gpus;
    const closed = new Uint8Array(site.gpus);
    for (;;) {
      const hot = largestOpen(gpuLoads, closed);
      if (hot < 0 || gpuLoads[hot] <= this.mean) return;
      let expert = -1;
      home.forEach((gpu, one) => {
        if (gpu === hot && (expert < 0 || atHome[one] > atHome[expert])) expert = one;
      });
      const cold = this.helper(expert, home[expert]);
      const room = cold < 0 ? 0 : this.mean - gpuLoads[cold];
      const copies = Math.min(gpuLoads[hot] - this.mean, room, atHome[expert]);
      // Less than a copy is rounding, and nobody can help with its largest expert any more.
      if (copies < 1e-9 * this.mean) {
        closed[hot] = 1;
        continue;
      }
      if (!wanted[cold].includes(expert)) {
        if (!held[cold].includes(expert)) arrived[cold]++;
        wanted[cold].push(expert);
      }
      atHome[expert] -= copies;
      gpuLoads[hot] -= copies;
      gpuLoads[cold] += copies;
    }
  }

  /** The least loaded GPU below the mean that has a replica of the expert or can get one, or −1. */
  private helper(expert: number, home: number): number {
    const { wanted, held, arrived, arrivals, gpuLoads, mean } = this;
    let best = -1;
    for (let gpu = 0; gpu < gpuLoads.length; gpu++) {
      if (gpu === home || gpuLoads[gpu] >= mean) continue;
      const arrives = held[gpu].includes(expert) || arrived[gpu] < arrivals;
      const open = wanted[gpu].length < held[gpu].length && arrives;
      if (!wanted[gpu].includes(expert) && !open) continue;
      if (best < 0 || gpuLoads[gpu] < gpuLoads[best]) best = gpu;
    }
    return best;
  }

  /** Experts in the spare slots of every GPU: chosen ones that are there stay in their slots. */
  filled(): number[][] {
    return this.held.map((before, gpu) => {
      const stays = before.map(
        (expert, slot) => this.wanted[gpu].includes(expert) && before.indexOf(expert) === slot,
      );
      const coming = this.wanted[gpu].filter((expert) => !before.includes(expert));
      return before.map((expert, slot) => (stays[slot] ? expert : (coming.shift() ?? expert)));
    });
  }
}

/** The place of the largest number that is not closed, or −1. */
function largestOpen(values: Float64Array, closed: Uint8Array): number {
  let best = -1;
  for (let i = 0; i < values.length; i++) {
    if (!closed[i] && (best < 0 || values[i] > values[best])) best = i;
  }
  return best;
}
