import type { LayerLoads, LayerPlan, LayerWork, Placement } from '../balancing/index.js';
import {
  expertBytes,
  PER_COPY,
  type LeadingSeconds,
  type Machine,
  type Runtime,
  type TrafficFloor,
} from '../execution/index.js';
import {
  bitsOf,
  expertStageCosts,
  leastFactor,
  linkRates,
  NIC_IN,
  NIC_OUT,
  NVLINK_IN,
  NVLINK_OUT,
  portCapacities,
  PORTS_PER_GPU,
  rowSeconds,
  type ExpertStageCost,
  type PortLoads,
} from '../hardware/index.js';

/**
 * A lower bound of a layer's time (invariant 7): the largest of
 * - compute: all kept copies at the best rate of the profile, spread over all GPUs;
 * - weights: the weight bytes of the distinct active experts over the whole memory bandwidth;
 * - ports: what must cross the busiest port, there and back, given which weights may move.
 * Host, launches and latencies count nothing. Where a layer begins with attention, no copy leaves before the first
 * GPU has finished its own, and the layer does not end before the last one has.
 */
export class LayerBound {
  private readonly secondsPerCopy: number;
  private readonly flopSecondsPerCopy: number;
  private readonly weightSeconds: number;
  private readonly shippedBits: number;
  private readonly weightBytes = new WeakMap<Placement, Float64Array>();
  private readonly capacities: Float64Array;
  private readonly crossing: Float64Array;
  private readonly floor: TrafficFloor;

  /** @param movesWeights whether the policy may move weights within the step */
  constructor(
    private readonly machine: Machine,
    private readonly runtime: Runtime,
    private readonly movesWeights: boolean,
  ) {
    const { cluster, shape } = machine;
    const costs = expertStageCosts(cluster.profile, shape, shape.experts / cluster.gpus);
    this.floor = runtime.floor ?? PER_COPY;
    // Where tokens enter whole, what that costs does not hang on the copies.
    const moving = (cost: ExpertStageCost) =>
      this.floor.fixed ? rowSeconds(cost) : cost.activationSecondsPerRow;
    this.secondsPerCopy = Math.min(
      ...costs.map((cost) => leastFactor(cost) * (cost.flopSecondsPerRow + moving(cost))),
    );
    this.flopSecondsPerCopy = Math.min(...costs.map((cost) => leastFactor(cost) * cost.flopSecondsPerRow));
    this.weightSeconds = Math.min(...costs.map((cost) => leastFactor(cost) * cost.weightSecondsPerExpert));
    this.shippedBits = bitsOf(shape.weightDtype);
    this.capacities = portCapacities(cluster, runtime.rates ?? linkRates(cluster.profile));
    this.crossing = new Float64Array(PORTS_PER_GPU * cluster.gpus);
  }

  /**
   * Seconds.
   * @param leading what every GPU computes first, in each part of the batch; null: nothing
   * @param slowdown how many times as long each GPU's kernels take; null: 1
   */
  of(
    plan: LayerPlan,
    work: LayerWork,
    base: LayerLoads,
    ports: PortLoads,
    leading: LeadingSeconds | null = null,
    slowdown: Float64Array | null = null,
  ): number {
    const { gpus } = this.machine.cluster;
    const speed = slowdown === null ? gpus : slowdown.reduce((sum, factor) => sum + 1 / factor, 0);
    const compute = ((work.kept + sharedCopies(work, plan)) * this.secondsPerCopy) / speed;
    const weights = (this.activeExperts(plan, base) * this.weightSeconds) / speed;
    const moe = Math.max(compute, weights, this.portSeconds(plan, base, ports));
    if (leading === null) return moe;
    let first = Infinity;
    let last = 0;
    for (let gpu = 0; gpu < gpus; gpu++) {
      const factor = slowdown === null ? 1 : slowdown[gpu];
      const routed = factor * (leading.dense[gpu] + leading.attention[gpu]);
      first = Math.min(first, routed);
      last = Math.max(last, routed + factor * leading.shared[gpu]);
    }
    // One part may travel while the next one computes.
    return Math.max((this.runtime.parts ?? 1) * last, first + moe);
  }

  /**
   * Seconds of the layer forward and backward. Backward: the products of the data and of the weights at forward's rate,
   * the weights read once more, and the exchanges the other way round; where weights may move they have come already.
   *
   * @param runsAgain whether the forward pass is run again before
   */
  ofTraining(
    plan: LayerPlan,
    work: LayerWork,
    base: LayerLoads,
    ports: PortLoads,
    runsAgain: boolean,
  ): number {
    const { gpus } = this.machine.cluster;
    const compute = (work.kept * this.secondsPerCopy) / gpus;
    const weights = (this.activeExperts(plan, base) * this.weightSeconds) / gpus;
    const exchanged = this.portSeconds(plan, base, ports);
    const backwardPorts = this.movesWeights ? 0 : exchanged;
    const forward = Math.max(compute, weights, exchanged);
    const again = runsAgain ? Math.max(compute, weights, backwardPorts) : 0;
    const products = (2 * work.kept * this.flopSecondsPerCopy) / gpus;
    return forward + again + Math.max(products, weights, backwardPorts);
  }

  /** Distinct active experts, a quantised one counted at its share of the bytes. */
  private activeExperts({ placement, drop }: LayerPlan, base: LayerLoads): number {
    const shipped = !placement.mixed && placement.slotBits[0] === this.shippedBits;
    if (shipped && drop === null) return base.active;
    const bits = shipped ? null : lowestBits(placement);
    let sum = 0;
    for (let e = 0; e < base.experts; e++) {
      if (base.loads[e] === 0 || (drop !== null && !anyKept(drop.kept, e, base.experts))) continue;
      sum += bits === null ? 1 : bits[e] / this.shippedBits;
    }
    return sum;
  }

  private portSeconds(plan: LayerPlan, base: LayerLoads, ports: PortLoads): number {
    const { gpus } = this.machine.cluster;
    if (gpus === 1) return 0;
    const { fixed } = this.floor;
    if (this.movesWeights && !fixed) return this.freeWeightSeconds(plan.placement, base);
    const free = plan.drop?.sent || plan.slices || plan.slotCopies || plan.shared;
    const units = free && !fixed ? this.unavoidable(plan, base) : ports.units;
    const { capacities } = this;
    const { dispatchBytes, combineBytes } = this.runtime;
    let longest = 0;
    const last = gpus > this.machine.cluster.gpusPerNode ? NIC_OUT : NVLINK_OUT;
    for (let out = NVLINK_OUT; out <= last; out += NIC_OUT - NVLINK_OUT) {
      const into = out + 1;
      for (let gpu = 0; gpu < gpus; gpu++) {
        const sent = units[out * gpus + gpu];
        const received = units[into * gpus + gpu];
        const busiest = Math.max(
          sent * dispatchBytes + received * combineBytes,
          received * dispatchBytes + sent * combineBytes,
        );
        longest = Math.max(longest, busiest / capacities[out * gpus + gpu]);
      }
    }
    return longest;
  }

  /**
   * Where weights may move, a GPU's copies of an expert either come back to it as results, or the expert's
   * weights come to it: the smaller of the two must enter, by one of its ports.
   */
  private freeWeightSeconds(placement: Placement, { counts, experts, home }: LayerLoads): number {
    const { gpus, gpusPerNode } = this.machine.cluster;
    const combineBytes = this.runtime.combineBytes / this.floor.copiesPerMessage;
    const { capacities } = this;
    const weightBytes = this.weightBytesOf(placement);
    let longest = 0;
    for (let gpu = 0; gpu < gpus; gpu++) {
      let bytes = 0;
      for (let e = 0; e < experts; e++) {
        if (home[e] !== gpu) bytes += Math.min(counts[gpu * experts + e] * combineBytes, weightBytes[e]);
      }
      const nic = gpus > gpusPerNode ? capacities[NIC_IN * gpus + gpu] : 0;
      const near = gpusPerNode > 1 ? capacities[NVLINK_IN * gpus + gpu] : 0;
      longest = Math.max(longest, bytes / (near + nic));
    }
    return longest;
  }

  /** Bytes of every expert at the fewest bits that a slot has it in. */
  private weightBytesOf(placement: Placement): Float64Array {
    let bytes = this.weightBytes.get(placement);
    if (bytes) return bytes;
    bytes = lowestBits(placement).map((bits) => expertBytes(this.machine, bits));
    this.weightBytes.set(placement, bytes);
    return bytes;
  }

  /**
   * Messages of kept copies that must cross each port, given where instances are: none for a GPU that holds one. A
   * message stands for as many copies as it can.
   */
  private unavoidable({ placement, drop }: LayerPlan, { counts, experts }: LayerLoads): Float64Array {
    const { gpus, gpusPerNode } = this.machine.cluster;
    const { crossing } = this;
    const { copiesPerMessage, relayed } = this.floor;
    const kept = drop?.kept ?? counts;
    const { only, holders } = holdersOf(placement);
    const isNear = (a: number, b: number) => Math.floor(a / gpusPerNode) === Math.floor(b / gpusPerNode);
    crossing.fill(0);
    for (let source = 0; source < gpus; source++) {
      for (let e = 0; e < experts; e++) {
        const copies = kept[source * experts + e] / copiesPerMessage;
        if (copies === 0) continue;
        const holder = only[e];
        if (holder === source) continue;
        if (holder >= 0) {
          const out = isNear(source, holder) ? NVLINK_OUT : NIC_OUT;
          crossing[out * gpus + source] += copies;
          const relay = holder - (holder % gpusPerNode) + (source % gpusPerNode);
          crossing[(out + 1) * gpus + (relayed && out === NIC_OUT ? relay : holder)] += copies;
          continue;
        }
        const own = holders[e];
        if (own.includes(source)) continue;
        const near = own.filter((gpu) => isNear(gpu, source)).length;
        // Which port is used is known only where all instances are on one side.
        if (near === 0) crossing[NIC_OUT * gpus + source] += copies;
        else if (near === own.length) crossing[NVLINK_OUT * gpus + source] += copies;
      }
    }
    return crossing;
  }
}

/** Copies of shared experts, whoever computes them. */
function sharedCopies({ shared }: LayerWork, plan: LayerPlan): number {
  return plan.shared ? shared.reduce((sum, copies) => sum + copies, 0) : 0;
}

function anyKept(kept: Int32Array, expert: number, experts: number): boolean {
  for (let cell = expert; cell < kept.length; cell += experts) if (kept[cell] > 0) return true;
  return false;
}

/** GPUs that hold each expert; `only` is the one GPU of an expert without replicas, else −1. */
interface Holders {
  only: Int32Array;
  holders: number[][];
}

const holdersCache = new WeakMap<Placement, Holders>();

function holdersOf(placement: Placement): Holders {
  let found = holdersCache.get(placement);
  if (found) return found;
  const { gpus, experts, firstSlot, slotExpert } = placement;
  const holders: number[][] = Array.from({ length: experts }, () => []);
  for (let gpu = 0; gpu < gpus; gpu++) {
    for (let slot = firstSlot[gpu]; slot < firstSlot[gpu + 1]; slot++) holders[slotExpert[slot]].push(gpu);
  }
  found = { holders, only: Int32Array.from(holders, (own) => (own.length === 1 ? own[0] : -1)) };
  holdersCache.set(placement, found);
  return found;
}

const bitsCache = new WeakMap<Placement, Float64Array>();

/** The fewest bits at which any instance of each expert is held. */
function lowestBits(placement: Placement): Float64Array {
  let bits = bitsCache.get(placement);
  if (bits) return bits;
  bits = new Float64Array(placement.experts).fill(Infinity);
  placement.slotExpert.forEach((expert, slot) => {
    bits[expert] = Math.min(bits[expert], placement.slotBits[slot]);
  });
  bitsCache.set(placement, bits);
  return bits;
}
