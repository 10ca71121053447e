import { addEightRows, ROWS_AT_ONCE } from '../hardware/index.js';
import type { Placement } from './placement.js';
import type { LayerPlan, SharedWork, SlotCopies } from './plan.js';

/** What all policies of a run share of one layer of one step: computed once. */
export class LayerLoads {
  /** Copies by expert. */
  readonly loads: Float64Array;
  /** Copies from each source to each GPU when every copy goes home, [source · gpus + gpu]. */
  readonly homeSend: Float64Array;
  /** Copies by GPU when every copy goes home. */
  readonly homeLoads: Float64Array;
  /** All copies. */
  total = 0;
  /** Experts with at least one copy. */
  active = 0;
  /** The largest load of an expert, and the sum of squares of all. */
  largest = 0;
  squares = 0;
  /** Copies, [source · experts + expert]. */
  counts: Int32Array = new Int32Array(0);

  private readonly blocks: Int32Array | null;

  /** @param home GPU by expert */
  constructor(
    readonly gpus: number,
    readonly experts: number,
    readonly home: Int32Array,
  ) {
    this.blocks = consecutiveBlocks(home, gpus);
    this.loads = new Float64Array(experts);
    this.homeSend = new Float64Array(gpus * gpus);
    this.homeLoads = new Float64Array(gpus);
  }

  /** @param counts [source · experts + expert]; kept by reference */
  count(counts: Int32Array): this {
    const { experts, home, loads, homeLoads } = this;
    this.counts = counts;
    loads.fill(0);
    homeLoads.fill(0);
    if (this.blocks === null) this.countAnywhere(counts);
    else this.countBlocks(counts, this.blocks);
    let active = 0;
    let total = 0;
    let largest = 0;
    let squares = 0;
    for (let e = 0; e < experts; e++) {
      const load = loads[e];
      if (load === 0) continue;
      active++;
      homeLoads[home[e]] += load;
      total += load;
      squares += load * load;
      if (load > largest) largest = load;
    }
    this.active = active;
    this.total = total;
    this.largest = largest;
    this.squares = squares;
    return this;
  }

  private countAnywhere(counts: Int32Array): void {
    const { gpus, experts, home, loads, homeSend } = this;
    homeSend.fill(0);
    for (let source = 0; source < gpus; source++) {
      const row = source * experts;
      const out = source * gpus;
      for (let e = 0; e < experts; e++) {
        const copies = counts[row + e];
        loads[e] += copies;
        homeSend[out + home[e]] += copies;
      }
    }
  }

  private countBlocks(counts: Int32Array, blocks: Int32Array): void {
    const { gpus, experts, loads, homeSend } = this;
    let source = 0;
    for (; source + ROWS_AT_ONCE <= gpus; source += ROWS_AT_ONCE) {
      const row = source * experts;
      for (let gpu = 0; gpu < gpus; gpu++) {
        const to = source * gpus + gpu;
        addEightRows(counts, row, experts, blocks[gpu], blocks[gpu + 1], loads, homeSend, to, gpus);
      }
    }
    for (; source < gpus; source++) {
      const row = source * experts;
      for (let gpu = 0; gpu < gpus; gpu++) {
        let sum = 0;
        for (let e = blocks[gpu]; e < blocks[gpu + 1]; e++) {
          sum += counts[row + e];
          loads[e] += counts[row + e];
        }
        homeSend[source * gpus + gpu] = sum;
      }
    }
  }
}

/** First expert of every GPU, and the end, where each GPU's experts are consecutive and in order; else null. */
function consecutiveBlocks(home: Int32Array, gpus: number): Int32Array | null {
  const blocks = new Int32Array(gpus + 1).fill(home.length);
  for (let e = home.length - 1; e >= 0; e--) {
    if (e > 0 && home[e] < home[e - 1]) return null;
    blocks.fill(e, e > 0 ? home[e - 1] + 1 : 0, home[e] + 1);
  }
  return blocks;
}

/**
 * A plan in numbers: what every GPU computes and what travels between GPUs. Reused from layer to layer;
 * `expand` fills it.
 */
export class LayerWork {
  /** Copies that each GPU computes, kept ones only. */
  copies!: Float64Array;
  /** Rows that each GPU computes, by index of `placement.widths`: [group · gpus + gpu]; padding included. */
  rows!: Float64Array;
  /** The same, every expert's rows rounded up. */
  roundedRows!: Float64Array;
  /** Instances of experts with rows. */
  activeExperts!: Float64Array;
  /** Rows of the GPU's largest expert. */
  largestExpert!: Float64Array;
  /** Copies (and padding) from each source to each GPU, [source · gpus + gpu]. */
  send: Float64Array;
  /** The largest load of one instance of an expert. */
  largestInstance = 0;
  /** Sum over instances of the square of their load; for the coefficient of variation. */
  instanceSquares = 0;
  /** Instances of experts, active or not. */
  instances = 0;
  /** Copies kept. */
  kept = 0;
  /** Copies computed away from their expert's home. */
  moved = 0;
  /** Copies computed at a precision that the policy lowered. */
  quantised = 0;
  /** Copies of shared experts that each GPU computes; they are in no other sum of copies. */
  shared!: Float64Array;
  /** Experts that a GPU computes without a slot for them, and their weights in experts as shipped. */
  borrowed!: Float64Array;
  borrowedWeights!: Float64Array;

  /** All sums per GPU in one block, cleared at once. */
  private sums!: Float64Array;
  /** Widths that they have room for. */
  private groups = 0;
  private readonly ownSend: Float64Array;
  private readonly keptLoads: Float64Array;
  private readonly sentLoads: Float64Array;
  private readonly onGpu: Float64Array;
  private readonly touched: Int32Array;
  private readonly sliced: Uint8Array;
  private slotLoads = new Float64Array(0);

  /**
   * @param rounding rows of an expert are rounded up to a multiple of this
   * @param weightBits bits per weight of a slot that the policy left as shipped
   */
  constructor(
    private readonly gpus: number,
    private readonly experts: number,
    private readonly rounding: number,
    private readonly weightBits: number,
  ) {
    this.makeRoom(1);
    this.ownSend = this.send = new Float64Array(gpus * gpus);
    this.keptLoads = new Float64Array(experts);
    this.sentLoads = new Float64Array(experts);
    this.onGpu = new Float64Array(gpus);
    this.touched = new Int32Array(gpus);
    this.sliced = new Uint8Array(experts);
  }

  /** @param groups products that a GPU may run, one for every width of a placement */
  private makeRoom(groups: number): void {
    const { gpus } = this;
    this.groups = groups;
    const sums = (this.sums = new Float64Array((5 + 3 * groups) * gpus));
    let next = 0;
    const take = (times: number) => sums.subarray(next, (next += times * gpus));
    this.copies = take(1);
    this.rows = take(groups);
    this.roundedRows = take(groups);
    this.activeExperts = take(groups);
    this.largestExpert = take(1);
    this.borrowed = take(1);
    this.borrowedWeights = take(1);
    this.shared = take(1);
  }

  expand(plan: LayerPlan, base: LayerLoads): this {
    const groups = plan.placement.widths.length;
    if (groups > this.groups) this.makeRoom(groups);
    else this.sums.fill(0);
    this.largestInstance = 0;
    this.instanceSquares = 0;
    this.instances = plan.placement.slotExpert.length;
    this.kept = base.total;
    this.moved = 0;
    this.quantised = 0;
    if (plan.uniform) this.expandUniform(plan.placement, base);
    else if (plan.drop) this.expandDrop(plan);
    else if (plan.slotCopies) this.expandSlots(plan.placement, plan.slotCopies);
    else this.expandSlices(plan, base);
    if (plan.shared) this.addShared(plan.shared);
    return this;
  }

  /** Rows that a GPU computes, whatever their bits. */
  rowsOn(gpu: number): number {
    return this.overGroups(this.rows, gpu);
  }

  /** The same, every expert's rows rounded up. */
  roundedRowsOn(gpu: number): number {
    return this.overGroups(this.roundedRows, gpu);
  }

  /** Instances of experts with rows on a GPU. */
  activeOn(gpu: number): number {
    return this.overGroups(this.activeExperts, gpu);
  }

  private overGroups(values: Float64Array, gpu: number): number {
    let sum = 0;
    for (let at = gpu; at < values.length; at += this.gpus) sum += values[at];
    return sum;
  }

  /** Shared experts are instances beside the routed ones, one of each on every GPU. */
  private addShared({ experts, copies }: SharedWork): void {
    const { gpus, ownSend, rounding } = this;
    if (this.send !== ownSend) ownSend.set(this.send);
    this.send = ownSend;
    for (let source = 0; source < gpus; source++) {
      for (let gpu = 0; gpu < gpus; gpu++) {
        const tokens = copies[source * gpus + gpu];
        this.shared[gpu] += experts * tokens;
        ownSend[source * gpus + gpu] += experts * tokens;
      }
    }
    for (let gpu = 0; gpu < gpus; gpu++) {
      const rows = this.shared[gpu] / experts;
      if (rows === 0) continue;
      this.rows[gpu] += this.shared[gpu];
      this.roundedRows[gpu] += experts * Math.ceil(rows / rounding) * rounding;
      this.activeExperts[gpu] += experts;
      if (rows > this.largestExpert[gpu]) this.largestExpert[gpu] = rows;
    }
  }

  /** Every GPU computes the mean load, spread evenly over its experts and over the sources. */
  private expandUniform({ widths, slotWidth }: Placement, base: LayerLoads): void {
    const { gpus, experts, rounding } = this;
    const share = base.total / gpus;
    const perExpert = base.total / experts;
    this.copies.fill(share);
    widths.forEach((_, group) => {
      const at = group * gpus;
      const part = slotWidth.reduce((sum, own) => sum + (own === group ? 1 : 0), 0) / slotWidth.length;
      this.rows.fill(part * share, at, at + gpus);
      const rounded = (Math.ceil(perExpert / rounding) * rounding * experts) / gpus;
      this.roundedRows.fill(part * rounded, at, at + gpus);
      this.activeExperts.fill((part * experts) / gpus, at, at + gpus);
    });
    this.largestExpert.fill(perExpert);
    this.send = this.ownSend.fill(share / gpus);
    this.largestInstance = perExpert;
    this.instances = experts;
    this.instanceSquares = experts * perExpert * perExpert;
  }

  private expandDrop(plan: LayerPlan): void {
    const { gpus, experts, keptLoads, sentLoads, ownSend } = this;
    const { home } = plan.placement;
    const { kept, rows } = plan.drop!;
    const sent = plan.drop!.sent ?? kept;
    keptLoads.fill(0);
    sentLoads.fill(0);
    ownSend.fill(0);
    for (let source = 0; source < gpus; source++) {
      for (let e = 0; e < experts; e++) {
        const cell = source * experts + e;
        keptLoads[e] += kept[cell];
        sentLoads[e] += sent[cell];
        ownSend[source * gpus + home[e]] += sent[cell];
      }
    }
    this.send = ownSend;
    this.kept = 0;
    for (let e = 0; e < experts; e++) {
      this.kept += keptLoads[e];
      this.copies[home[e]] += keptLoads[e];
      this.addInstance(keptLoads[e]);
      this.addRows(plan.placement, e, home[e], rows ? rows[e] : sentLoads[e]);
    }
  }

  /** Every slot is an instance with rows of its own, two of one expert on a GPU too. */
  private expandSlots(placement: Placement, { slots, copies: cells }: SlotCopies): void {
    const { gpus, ownSend, copies, rounding } = this;
    const { slotGpu, slotExpert, slotWidth, home } = placement;
    this.send = ownSend.fill(0);
    if (this.slotLoads.length < slots) this.slotLoads = new Float64Array(slots);
    const loads = this.slotLoads.fill(0);
    for (let source = 0; source < gpus; source++) {
      const row = source * slots;
      const out = source * gpus;
      for (let slot = 0; slot < slots; slot++) {
        const amount = cells[row + slot];
        if (amount === 0) continue;
        loads[slot] += amount;
        ownSend[out + slotGpu[slot]] += amount;
      }
    }
    for (let slot = 0; slot < slots; slot++) {
      const load = loads[slot];
      if (load === 0) continue;
      const gpu = slotGpu[slot];
      copies[gpu] += load;
      this.addInstance(load);
      if (gpu !== home[slotExpert[slot]]) this.moved += load;
      if (this.isLowered(placement, slot)) this.quantised += load;
      const at = slotWidth[slot] * gpus + gpu;
      this.rows[at] += load;
      this.roundedRows[at] += Math.ceil(load / rounding) * rounding;
      this.activeExperts[at]++;
      if (load > this.largestExpert[gpu]) this.largestExpert[gpu] = load;
    }
  }

  private expandSlices(plan: LayerPlan, base: LayerLoads): void {
    const { slices, placement } = plan;
    const { loads } = base;
    const { home } = placement;
    this.send = base.homeSend;
    if (slices === null && !placement.mixed) {
      this.expandHome(placement, base);
      return;
    }
    if (slices !== null) this.applySlices(plan, base);
    const { sliced, copies } = this;
    for (let e = 0; e < this.experts; e++) {
      if (slices !== null && sliced[e]) continue;
      const load = loads[e];
      copies[home[e]] += load;
      this.addInstance(load);
      this.addRows(placement, e, home[e], load);
    }
  }

  /** The common case, every copy at home and one precision, in one plain loop. */
  private expandHome({ home }: Placement, { loads, homeLoads, largest, squares }: LayerLoads): void {
    const { copies, rows, roundedRows, activeExperts, largestExpert, rounding } = this;
    copies.set(homeLoads);
    rows.set(homeLoads);
    for (let e = 0; e < loads.length; e++) {
      const load = loads[e];
      if (load === 0) continue;
      const gpu = home[e];
      roundedRows[gpu] += Math.ceil(load / rounding) * rounding;
      activeExperts[gpu]++;
      if (load > largestExpert[gpu]) largestExpert[gpu] = load;
    }
    this.largestInstance = largest;
    this.instanceSquares = squares;
  }

  /** Adds what the sliced experts' instances compute, and moves their copies from home to them in `send`. */
  private applySlices({ slices, placement }: LayerPlan, base: LayerLoads): void {
    const { gpus, experts, ownSend, onGpu, touched, sliced, copies } = this;
    const { counts, loads } = base;
    const { expert, gpu, start, end, count } = slices!;
    sliced.fill(0);
    this.send = ownSend;
    ownSend.set(base.homeSend);
    for (let first = 0; first < count;) {
      const e = expert[first];
      const home = placement.home[e];
      sliced[e] = 1;
      let last = first + 1;
      while (last < count && expert[last] === e) last++;
      if (last - first === 1 && gpu[first] === home) {
        copies[home] += loads[e];
        this.addInstance(loads[e]);
        this.addRows(placement, e, home, loads[e]);
        first = last;
        continue;
      }
      let slice = first;
      let position = 0;
      for (let source = 0; source < gpus; source++) {
        const own = counts[source * experts + e];
        if (own === 0) continue;
        ownSend[source * gpus + home] -= own;
        const until = position + own;
        while (position < until) {
          while (end[slice] <= position) slice++;
          const upTo = Math.min(until, end[slice]);
          ownSend[source * gpus + gpu[slice]] += upTo - position;
          position = upTo;
        }
      }
      let gpusOfExpert = 0;
      for (let i = first; i < last; i++) {
        const size = end[i] - start[i];
        if (onGpu[gpu[i]] === 0) touched[gpusOfExpert++] = gpu[i];
        onGpu[gpu[i]] += size;
        if (gpu[i] !== home) this.moved += size;
      }
      for (let i = 0; i < gpusOfExpert; i++) {
        const target = touched[i];
        const load = onGpu[target];
        onGpu[target] = 0;
        copies[target] += load;
        this.addInstance(load);
        if (slotOf(placement, target, e) < 0) {
          this.borrowed[target]++;
          this.borrowedWeights[target] += placement.slotBits[slotOf(placement, home, e)] / this.weightBits;
          this.instances++;
        }
        this.addRows(placement, e, target, load);
      }
      first = last;
    }
  }

  private addInstance(load: number): void {
    if (load > this.largestInstance) this.largestInstance = load;
    this.instanceSquares += load * load;
  }

  private addRows(placement: Placement, expert: number, gpu: number, rows: number): void {
    if (rows === 0) return;
    let group = 0;
    if (placement.mixed) {
      // A borrowed expert has the bits of its home.
      const own = slotOf(placement, gpu, expert);
      const slot = own >= 0 ? own : slotOf(placement, placement.home[expert], expert);
      group = placement.slotWidth[slot];
      if (this.isLowered(placement, slot)) this.quantised += rows;
    }
    const at = group * this.gpus + gpu;
    this.rows[at] += rows;
    this.roundedRows[at] += Math.ceil(rows / this.rounding) * this.rounding;
    this.activeExperts[at]++;
    if (rows > this.largestExpert[gpu]) this.largestExpert[gpu] = rows;
  }

  /** Whether the policy lowered a slot's bits. */
  private isLowered({ mixed, planned, slotBits }: Placement, slot: number): boolean {
    return mixed && !planned && slotBits[slot] < this.weightBits;
  }
}

/** The slot in which a GPU holds an expert, or −1. */
function slotOf({ firstSlot, slotExpert }: Placement, gpu: number, expert: number): number {
  for (let slot = firstSlot[gpu]; slot < firstSlot[gpu + 1]; slot++) {
    if (slotExpert[slot] === expert) return slot;
  }
  return -1;
}
