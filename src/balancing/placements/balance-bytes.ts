import { z } from 'zod';
import { placementOf } from '../placement.js';
import type { PlacementRule } from './rule.js';

const options = z.strictObject({ kind: z.literal('balance-bytes') });

type Options = z.output<typeof options>;

/**
 * Balances copies and bytes of weights together, where experts have different bits: every expert once, as many to each
 * GPU as standard EP gives it. Experts with the largest share of either go first, each to the GPU whose larger share
 * stays least; then experts of two GPUs change places while that lowers the larger share of the worse of the two.
 */
export const balanceBytes: PlacementRule<Options, z.input<typeof options>> = {
  kind: 'balance-bytes',
  summary: 'balances copies and bytes of weights together, for experts of different bits; no replicas',
  options,
  adapts: true,
  slots: (_, { experts }) => experts,
  refusal: () => null,
  start(_, { experts, weightBits, expertBits, placement }) {
    const { firstSlot } = placement;
    const room = Array.from(firstSlot.subarray(1), (end, gpu) => end - firstSlot[gpu]);
    const even = new Float64Array(experts).fill(1);
    return {
      place: (loads, _current, layers) =>
        loads.map(({ sum }, i) => {
          const bytes = expertBits?.[layers?.[i] ?? i] ?? even;
          return placementOf(new TwoLoads(sum, bytes, room).place(), experts, weightBits);
        }),
    };
  },
};

/** Experts on GPUs while they are placed; loads are multiples of a GPU's fair share. */
class TwoLoads {
  private readonly copies: Float64Array;
  private readonly bytes: Float64Array;
  private readonly copiesOn: Float64Array;
  private readonly bytesOn: Float64Array;
  private readonly slots: number[][];

  /** @param room slots by GPU, one per expert together */
  constructor(
    copies: ArrayLike<number>,
    bytes: ArrayLike<number>,
    private readonly room: readonly number[],
  ) {
    this.copies = sharesOf(copies, room.length);
    this.bytes = sharesOf(bytes, room.length);
    this.copiesOn = new Float64Array(room.length);
    this.bytesOn = new Float64Array(room.length);
    this.slots = room.map(() => []);
  }

  place(): number[][] {
    const { copies, bytes, slots, room } = this;
    const size = (expert: number) => Math.max(copies[expert], bytes[expert]);
    const order = Array.from(copies, (_, expert) => expert).sort((a, b) => size(b) - size(a) || a - b);
    for (const expert of order) {
      let best = -1;
      for (let gpu = 0; gpu < room.length; gpu++) {
        if (slots[gpu].length >= room[gpu]) continue;
        if (best < 0 || this.isBetter(expert, gpu, best)) best = gpu;
      }
      this.put(expert, best, slots[best].length);
    }
    // Every swap lowers the larger share of a pair, and there are finitely many arrangements.
    while (this.swapWorst());
    return slots;
  }

  /** Whether an expert raises the larger share of one GPU to less than that of another; ties: to the smaller sum. */
  private isBetter(expert: number, gpu: number, than: number): boolean {
    const { copies, bytes, copiesOn, bytesOn } = this;
    const after = (at: number) => Math.max(copiesOn[at] + copies[expert], bytesOn[at] + bytes[expert]);
    const [here, there] = [after(gpu), after(than)];
    return here < there || (here === there && copiesOn[gpu] + bytesOn[gpu] < copiesOn[than] + bytesOn[than]);
  }

  private put(expert: number, gpu: number, slot: number): void {
    this.slots[gpu][slot] = expert;
    this.copiesOn[gpu] += this.copies[expert];
    this.bytesOn[gpu] += this.bytes[expert];
  }

  private take(gpu: number, slot: number): number {
    const expert = this.slots[gpu][slot];
    this.copiesOn[gpu] -= this.copies[expert];
    this.bytesOn[gpu] -= this.bytes[expert];
    return expert;
  }

  /** Swaps an expert of the GPU with the largest share for the one elsewhere that helps most. */
  private swapWorst(): boolean {
    const { slots, copies, bytes, copiesOn, bytesOn } = this;
    const worst = copiesOn.reduce((at, _, gpu) => (this.largest(gpu) > this.largest(at) ? gpu : at), 0);
    // Less is rounding.
    let least = this.largest(worst) - 1e-9;
    let found: [slot: number, gpu: number, other: number] | null = null;
    for (let slot = 0; slot < slots[worst].length; slot++) {
      for (let gpu = 0; gpu < slots.length; gpu++) {
        if (gpu === worst) continue;
        for (let other = 0; other < slots[gpu].length; other++) {
          const dCopies = copies[slots[gpu][other]] - copies[slots[worst][slot]];
          const dBytes = bytes[slots[gpu][other]] - bytes[slots[worst][slot]];
          const here = Math.max(copiesOn[worst] + dCopies, bytesOn[worst] + dBytes);
          const there = Math.max(copiesOn[gpu] - dCopies, bytesOn[gpu] - dBytes);
          if (Math.max(here, there) >= least) continue;
          least = Math.max(here, there);
          found = [slot, gpu, other];
        }
      }
    }
    if (found === null) return false;
    const [slot, gpu, other] = found;
    const leaving = this.take(worst, slot);
    const coming = this.take(gpu, other);
    this.put(coming, worst, slot);
    this.put(leaving, gpu, other);
    return true;
  }

  private largest(gpu: number): number {
    return Math.max(this.copiesOn[gpu], this.bytesOn[gpu]);
  }
}

/** Values as multiples of a GPU's fair share. */
function sharesOf(values: ArrayLike<number>, gpus: number): Float64Array {
  const all = Float64Array.from(values);
  const total = all.reduce((sum, value) => sum + value, 0);
  return total === 0 ? all : all.map((value) => (value * gpus) / total);
}
