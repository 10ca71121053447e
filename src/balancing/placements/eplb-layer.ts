/** What EPLB's tables depend on besides loads. */
export interface EplbShape {
  experts: number;
  /** Physical slots of a layer, a multiple of `gpus`. */
  slots: number;
  /** Groups of consecutive experts that stay on one node, where they divide over the nodes. */
  groups: number;
  nodes: number;
  gpus: number;
  /** No two instances of an expert on one GPU; not in the original. */
  avoidDuplicates: boolean;
}

/**
 * The expert parallelism load balancer of DeepSeek (deepseek-ai/EPLB @ d52c72d, eplb.py), for one layer at a time:
 * groups of experts are packed onto nodes, experts replicated inside their node, instances packed onto the node's
 * GPUs. Where groups do not divide over the nodes, the same with one group and one node (`global`).
 *
 * Arithmetic is float32 as in the original; its two sorts, which leave the order of ties open, are stable here.
 * `place` writes the outcome to `slotExpert`, `slotRank` and `count` and allocates nothing.
 */
export class EplbLayer {
  /** Expert of every slot, slots in GPU order (`phy2log`). */
  readonly slotExpert: Int32Array;
  /** Which of its expert's instances a slot is, in the order in which they were made. */
  readonly slotRank: Int32Array;
  /** Instances by expert (`logcnt`). */
  readonly count: Int32Array;

  private readonly groups: number;
  private readonly nodes: number;
  private readonly loads: Float32Array;
  private readonly groupLoads: Float32Array;
  /** Experts in the order in which groups were packed onto nodes. */
  private readonly byNode: Int32Array;
  private readonly ratio: Float32Array;
  private readonly copies: Int32Array;
  private readonly madeOf: Int32Array;
  private readonly madeRank: Int32Array;
  private readonly slotLoads: Float32Array;
  private readonly packer: Packer;
  private readonly groupPacker: Packer;
  private readonly distinctPacker: DistinctPacker | null;

  constructor(private readonly shape: EplbShape) {
    const { experts, slots, gpus, avoidDuplicates } = shape;
    const hierarchical = shape.groups % shape.nodes === 0;
    this.groups = hierarchical ? shape.groups : 1;
    this.nodes = hierarchical ? shape.nodes : 1;
    this.slotExpert = new Int32Array(slots);
    this.slotRank = new Int32Array(slots);
    this.count = new Int32Array(experts);
    this.loads = new Float32Array(experts);
    this.groupLoads = new Float32Array(this.groups);
    this.byNode = new Int32Array(experts);
    this.ratio = new Float32Array(experts / this.nodes);
    this.copies = new Int32Array(experts / this.nodes);
    this.madeOf = new Int32Array(slots / this.nodes);
    this.madeRank = new Int32Array(slots / this.nodes);
    this.slotLoads = new Float32Array(slots / this.nodes);
    this.groupPacker = new Packer(this.groups, this.nodes);
    this.packer = new Packer(slots / this.nodes, gpus / this.nodes);
    this.distinctPacker = avoidDuplicates
      ? new DistinctPacker(slots / this.nodes, gpus / this.nodes, experts / this.nodes)
      : null;
  }

  /** @param loads copies by expert */
  place(loads: ArrayLike<number>): this {
    const { experts } = this.shape;
    for (let e = 0; e < experts; e++) this.loads[e] = loads[e];
    this.packGroups();
    for (let node = 0; node < this.nodes; node++) {
      this.replicate(node);
      this.packInstances(node);
    }
    return this;
  }

  private packGroups(): void {
    const { groups, nodes, groupLoads, loads, byNode, groupPacker } = this;
    const size = this.shape.experts / groups;
    groupLoads.fill(0);
    for (let e = 0; e < loads.length; e++) groupLoads[Math.floor(e / size)] += loads[e];
    groupPacker.pack(groupLoads);
    for (let group = 0; group < groups; group++) {
      const at = (groupPacker.packOf[group] * (groups / nodes) + groupPacker.rankOf[group]) * size;
      for (let offset = 0; offset < size; offset++) byNode[at + offset] = group * size + offset;
    }
  }

  /** Gives every further instance to the expert with the largest load per instance, the first among equals. */
  private replicate(node: number): void {
    const { byNode, loads, ratio, copies, madeOf, madeRank, slotLoads } = this;
    const own = ratio.length;
    const first = node * own;
    const most = this.distinctPacker ? this.shape.gpus / this.nodes : Infinity;
    copies.fill(1);
    for (let i = 0; i < own; i++) {
      ratio[i] = most > 1 ? loads[byNode[first + i]] : -1;
      madeOf[i] = i;
      madeRank[i] = 0;
    }
    for (let made = own; made < madeOf.length; made++) {
      let best = 0;
      let largest = ratio[0];
      for (let i = 1; i < own; i++) {
        if (ratio[i] > largest) {
          best = i;
          largest = ratio[i];
        }
      }
      madeOf[made] = best;
      madeRank[made] = copies[best]++;
      ratio[best] = copies[best] < most ? loads[byNode[first + best]] / copies[best] : -1;
    }
    for (let made = 0; made < madeOf.length; made++) {
      slotLoads[made] = loads[byNode[first + madeOf[made]]] / copies[madeOf[made]];
    }
    for (let i = 0; i < own; i++) this.count[byNode[first + i]] = copies[i];
  }

  private packInstances(node: number): void {
    const { slots, gpus, experts } = this.shape;
    const { byNode, madeOf, madeRank, slotLoads, slotExpert, slotRank } = this;
    const packer = this.distinctPacker ?? this.packer;
    if (this.distinctPacker) this.distinctPacker.packDistinct(slotLoads, madeOf);
    else packer.pack(slotLoads);
    const perGpu = slots / gpus;
    const firstSlot = (node * slots) / this.nodes;
    const firstExpert = (node * experts) / this.nodes;
    for (let made = 0; made < madeOf.length; made++) {
      const slot = firstSlot + packer.packOf[made] * perGpu + packer.rankOf[made];
      slotExpert[slot] = byNode[firstExpert + madeOf[made]];
      slotRank[slot] = madeRank[made];
    }
  }
}

/**
 * EPLB's balanced packing: items by falling weight, each into the lightest pack that is not full, the lowest number
 * among equals. One item per pack is not sorted.
 */
class Packer {
  readonly packOf: Int32Array;
  readonly rankOf: Int32Array;
  protected readonly room: number;
  /** Weight by pack; Infinity where it is full. */
  protected readonly sums: Float32Array;
  protected readonly filled: Int32Array;
  protected readonly order: Float64Array;
  private readonly bits: Uint32Array;
  private readonly weights: Float32Array;

  constructor(
    protected readonly items: number,
    protected readonly packs: number,
  ) {
    this.room = items / packs;
    this.packOf = new Int32Array(items);
    this.rankOf = new Int32Array(items);
    this.sums = new Float32Array(packs);
    this.filled = new Int32Array(packs);
    this.order = new Float64Array(items);
    this.weights = new Float32Array(items);
    this.bits = new Uint32Array(this.weights.buffer);
  }

  pack(weights: Float32Array): void {
    const { packOf, rankOf, items, room } = this;
    if (room === 1) {
      for (let item = 0; item < items; item++) packOf[item] = item;
      rankOf.fill(0);
      return;
    }
    this.sort(weights);
    for (let i = 0; i < items; i++) {
      const item = itemOf(this.order[i]);
      this.put(item, this.lightest(), weights[item]);
    }
  }

  /** Sorts by falling weight, the first among equals first: the bits of a float32 ≥ 0 sort as it does. */
  protected sort(weights: Float32Array): void {
    const { bits, order, items } = this;
    this.weights.set(weights);
    for (let item = 0; item < items; item++) order[item] = (MOST_BITS - bits[item]) * MOST_ITEMS + item;
    order.sort();
    this.sums.fill(0);
    this.filled.fill(0);
  }

  protected put(item: number, pack: number, weight: number): void {
    this.packOf[item] = pack;
    this.rankOf[item] = this.filled[pack]++;
    this.sums[pack] = this.filled[pack] === this.room ? Infinity : this.sums[pack] + weight;
  }

  private lightest(): number {
    const { sums, packs } = this;
    let best = -1;
    let least = Infinity;
    for (let pack = 0; pack < packs; pack++) {
      const sum = sums[pack];
      if (sum < least) {
        best = pack;
        least = sum;
      }
    }
    return best;
  }
}

/** The same without two items of one kind in a pack. Needs at most as many items of a kind as there are packs. */
class DistinctPacker extends Packer {
  private readonly holds: Uint8Array;
  /** Item by pack and rank. */
  private readonly itemAt: Int32Array;

  constructor(
    items: number,
    packs: number,
    private readonly kinds: number,
  ) {
    super(items, packs);
    this.holds = new Uint8Array(packs * kinds);
    this.itemAt = new Int32Array(items);
  }

  /** @param kindOf kind of every item */
  packDistinct(weights: Float32Array, kindOf: Int32Array): void {
    const { items, packs, kinds, holds, itemAt, room, filled } = this;
    this.sort(weights);
    holds.fill(0);
    const take = (item: number, pack: number) => {
      itemAt[pack * room + filled[pack]] = item;
      holds[pack * kinds + kindOf[item]] = 1;
      this.put(item, pack, weights[item]);
    };
    for (let i = 0; i < items; i++) {
      const item = itemOf(this.order[i]);
      const kind = kindOf[item];
      let free = -1;
      let open = -1;
      for (let pack = 0; pack < packs; pack++) {
        if (filled[pack] === room) continue;
        if (open < 0 || this.sums[pack] < this.sums[open]) open = pack;
        if (!holds[pack * kinds + kind] && (free < 0 || this.sums[pack] < this.sums[free])) free = pack;
      }
      if (free >= 0) take(item, free);
      else this.exchange(item, open, weights, kindOf, take);
    }
  }

  /**
   * Every pack with room holds the item's kind: the item takes the place of another one in a full pack, which goes
   * to `open`. Such a pair exists: some pack lacks the kind, is full, and so holds more kinds than `open`. The one of
   * the most similar weight is taken.
   */
  private exchange(
    item: number,
    open: number,
    weights: Float32Array,
    kindOf: Int32Array,
    take: (item: number, pack: number) => void,
  ): void {
    const { packs, kinds, holds, itemAt, room, filled } = this;
    let place = -1;
    let smallest = Infinity;
    for (let pack = 0; pack < packs; pack++) {
      if (filled[pack] < room || holds[pack * kinds + kindOf[item]]) continue;
      for (let at = pack * room; at < (pack + 1) * room; at++) {
        const difference = Math.abs(weights[itemAt[at]] - weights[item]);
        if (holds[open * kinds + kindOf[itemAt[at]]] || difference >= smallest) continue;
        place = at;
        smallest = difference;
      }
    }
    const pack = Math.floor(place / room);
    const other = itemAt[place];
    take(other, open);
    itemAt[place] = item;
    holds[pack * kinds + kindOf[other]] = 0;
    holds[pack * kinds + kindOf[item]] = 1;
    this.packOf[item] = pack;
    this.rankOf[item] = place - pack * room;
  }
}

const MOST_BITS = 0xffffffff;
/** More than any layer has slots; bits and number together stay below 2⁵³. */
const MOST_ITEMS = 2 ** 20;

function itemOf(key: number): number {
  return key - Math.floor(key / MOST_ITEMS) * MOST_ITEMS;
}
