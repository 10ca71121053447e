import { z } from 'zod';
import { placementOf, slotsByGpu, type Placement } from '../placement.js';
import {
  equalShareLoads,
  fallingReversed,
  largest,
  redundantSlots,
  refuseRedundant,
  slotsOf,
} from './ascend-slots.js';
import type { PlacementRule } from './rule.js';

const options = z.strictObject({
  kind: z.literal('ascend-swift'),
  redundant: redundantSlots,
  skipBelow: z
    .number()
    .min(1)
    .default(1.01)
    .describe('A layer whose max/mean GPU load is below this keeps its slots.'),
  swaps: z.int().min(0).default(100).describe('Most exchanges of two experts in a layer.'),
  minGain: z
    .number()
    .min(0)
    .default(0.01)
    .describe('What an exchange must take off the larger of two GPU loads, as a share of the mean GPU load.'),
  adoptBelow: z
    .number()
    .gt(0)
    .max(1)
    .default(0.95)
    .describe(
      'New tables are taken only if the largest GPU loads, summed over layers, fall below this share of today’s.',
    ),
});

type Options = z.output<typeof options>;

/**
 * vllm-ascend's SwiftBalance (@ 182b75ea, `eplb_policy_type` 2): few weights move. In a layer, the first slot of every
 * expert stays; the others are given to the hottest experts anew, each on the least loaded GPU with such a slot that
 * lacks the expert, and at most one expert from one GPU to another. Then the hottest GPU exchanges experts, one pair
 * at a time, with the coldest GPU where that helps and with which it has exchanged nothing yet. A layer keeps what it
 * has where the largest GPU load does not fall; all layers do where the sum of these falls by less than 5 %.
 */
export const ascendSwift: PlacementRule<Options, z.input<typeof options>> = {
  kind: 'ascend-swift',
  summary: "vllm-ascend's SwiftBalance: re-chooses redundant slots and exchanges a few experts",
  options,
  adapts: true,
  slots: slotsOf,
  refusal: refuseRedundant,
  start(chosen, { experts, weightBits }) {
    return {
      place(loads, current) {
        let before = 0;
        let after = 0;
        const placed = loads.map(({ sum }, layer) => {
          const today = largest(equalShareLoads(current[layer], sum));
          const slots = improved(current[layer], sum, chosen);
          const next = slots && placementOf(slots, experts, weightBits);
          before += today;
          after += next === null ? today : largest(equalShareLoads(next, sum));
          return next;
        });
        return after < chosen.adoptBelow * before ? placed : loads.map(() => null);
      },
    };
  },
};

/** Experts by GPU and slot; null where the layer is balanced enough, or would not be better balanced after. */
function improved(current: Placement, loads: Float64Array, chosen: Options): number[][] | null {
  const gpuLoads = equalShareLoads(current, loads);
  const mean = gpuLoads.reduce((sum, load) => sum + load, 0) / current.gpus;
  if (mean === 0 || largest(gpuLoads) < chosen.skipBelow * mean) return null;
  const layer = new SwiftLayer(slotsByGpu(current), loads);
  layer.chooseRedundant();
  layer.exchange(chosen.swaps, chosen.minGain * mean);
  return largest(layer.gpuLoads) < largest(gpuLoads) ? layer.slots : null;
}

/** What a slot holds while redundant slots are being chosen. */
const FREE = -1;

/** One layer on its way to new slots. */
class SwiftLayer {
  /** What the planner takes GPU loads for. */
  gpuLoads: Float64Array;

  private readonly home: Int32Array;
  private readonly count: Int32Array;
  /**
   * Load of an instance as the original counts it: with k replicas it multiplies by 2/3, 3/4 and so on, which makes
   * 2 / (k + 2) of the load where an equal share would be 1 / (k + 1).
   */
  private readonly share: Float64Array;
  /** Experts that a GPU received, by the GPU they came from. */
  private readonly received: Map<number, number>[];

  /** @param slots experts by GPU; written into */
  constructor(
    readonly slots: number[][],
    private readonly loads: Float64Array,
  ) {
    this.home = new Int32Array(loads.length).fill(-1);
    this.count = new Int32Array(loads.length).fill(1);
    this.share = Float64Array.from(loads);
    this.received = slots.map(() => new Map<number, number>());
    this.gpuLoads = new Float64Array(slots.length);
    const most = Math.max(...slots.map((own) => own.length));
    // Slot by slot over all GPUs: of two instances the one in the later slot is the redundant one.
    for (let slot = 0; slot < most; slot++) {
      for (const [gpu, own] of slots.entries()) {
        if (slot >= own.length) continue;
        if (this.home[own[slot]] >= 0) own[slot] = FREE;
        else this.home[own[slot]] = gpu;
      }
    }
  }

  /** Gives the free slots to the hottest experts. */
  chooseRedundant(): void {
    const { slots, share, gpuLoads } = this;
    const copies = this.replicate(slots.flat().filter((expert) => expert === FREE).length);
    this.sumLoads();
    const shares = copies.map((expert) => share[expert]);
    for (const made of fallingReversed([...copies.keys()], shares)) {
      const gpu = this.leastLoaded(copies[made]);
      if (gpu < 0) continue;
      this.give(copies[made], gpu);
      gpuLoads[gpu] += share[copies[made]];
    }
    this.fillLeftOver();
    this.sumLoads();
  }

  /** Experts of so many new replicas, by expert. */
  private replicate(replicas: number): number[] {
    const { share, slots } = this;
    const wanted = new Int32Array(share.length).fill(1);
    for (let made = 0; made < replicas; made++) {
      const hot = fallingReversed([...share.keys()], share).find((expert) => wanted[expert] < slots.length);
      if (hot === undefined) break;
      wanted[hot]++;
      share[hot] = (share[hot] * wanted[hot]) / (wanted[hot] + 1);
    }
    return Array.from(wanted.keys()).flatMap((expert) => new Array<number>(wanted[expert] - 1).fill(expert));
  }

  private sumLoads(): void {
    const { slots, share, gpuLoads } = this;
    slots.forEach((own, gpu) => {
      gpuLoads[gpu] = own.reduce((sum, expert) => sum + (expert === FREE ? 0 : share[expert]), 0);
    });
  }

  /** The least loaded GPU that may get a copy of an expert, or −1. */
  private leastLoaded(expert: number): number {
    const { slots, received, home, gpuLoads } = this;
    let best = -1;
    for (const [gpu, own] of slots.entries()) {
      if (!own.includes(FREE) || own.includes(expert) || received[gpu].has(home[expert])) continue;
      if (best < 0 || gpuLoads[gpu] < gpuLoads[best]) best = gpu;
    }
    return best;
  }

  /** Slots that no chosen replica may be sent to get the hottest expert that their GPU lacks. */
  private fillLeftOver(): void {
    const { slots, loads, count, share } = this;
    for (;;) {
      const open = [...slots.keys()].filter((gpu) => slots[gpu].includes(FREE));
      if (open.length === 0) return;
      const lacking = (expert: number) => open.find((gpu) => !slots[gpu].includes(expert));
      const order = fallingReversed(
        [...loads.keys()],
        loads.map((load, e) => load / count[e]),
      );
      const expert = order.find((one) => lacking(one) !== undefined) ?? order[0];
      this.give(expert, lacking(expert) ?? open[0]);
      share[expert] = loads[expert] / count[expert];
    }
  }

  private give(expert: number, gpu: number): void {
    const own = this.slots[gpu];
    own[own.lastIndexOf(FREE)] = expert;
    this.count[expert]++;
    this.received[gpu].set(this.home[expert], expert);
  }

  /** Exchanges pairs of experts between the hottest GPU and the coldest that can help. */
  exchange(most: number, gain: number): void {
    const { slots, share, gpuLoads, received } = this;
    const order = [...slots.keys()];
    for (let done = 0; done < most; done++) {
      order.sort((a, b) => gpuLoads[a] - gpuLoads[b]);
      const hot = order[order.length - 1];
      let pair = null;
      for (let i = 0; i < order.length - 1 && pair === null; i++) {
        if (!received[hot].has(order[i]) && !received[order[i]].has(hot))
          pair = this.bestPair(hot, order[i], gain);
      }
      if (pair === null) return;
      const { cold, from, to } = pair;
      const [given, taken] = [slots[hot][from], slots[cold][to]];
      slots[hot][from] = taken;
      slots[cold][to] = given;
      gpuLoads[hot] += share[taken] - share[given];
      gpuLoads[cold] += share[given] - share[taken];
      received[hot].set(cold, taken);
      received[cold].set(hot, given);
    }
  }

  /** The exchange that brings the larger of two GPU loads, in whole numbers, down most, and by enough; or null. */
  private bestPair(
    hot: number,
    cold: number,
    gain: number,
  ): { cold: number; from: number; to: number } | null {
    const { slots, received, share, gpuLoads } = this;
    const hotLoad = Math.trunc(gpuLoads[hot]);
    const coldLoad = Math.trunc(gpuLoads[cold]);
    const stays = (gpu: number, expert: number, other: number) =>
      slots[other].includes(expert) || [...received[gpu].values()].includes(expert);
    let least = Math.max(hotLoad, coldLoad) - gain;
    let best = null;
    for (const [from, given] of slots[hot].entries()) {
      if (stays(hot, given, cold)) continue;
      for (const [to, taken] of slots[cold].entries()) {
        if (stays(cold, taken, hot)) continue;
        const change = share[taken] - share[given];
        const larger = Math.max(hotLoad + change, coldLoad - change);
        if (larger > least || (best !== null && larger === least)) continue;
        least = larger;
        best = { cold, from, to };
      }
    }
    return best;
  }
}
