import { assignBits } from '../../model/index.js';
import { placementOf, slotsByGpu, type Placement } from '../placement.js';

export interface ReplicateQuantizeRule {
  /** Replicas per layer. */
  replicas: number;
  /** Bits per weight of replicas and donors. */
  bits: number;
  /** Which experts pay for the replicas: the least important of all, or of the GPU that gets the replica. */
  donors: 'global' | 'per-gpu';
  /** Instead of importance: what each precision costs each expert, of which a solver chooses; null: importance. */
  losses?: DonorLosses | null;
}

/** What lower precisions cost the experts of a layer. */
export interface DonorLosses {
  /** Whole bits per weight below those shipped, rising. */
  bits: readonly number[];
  /** [expert][width]. */
  costs: readonly (readonly number[])[];
}

/** Experts that must be quantised to pay for a number of replicas: ⌈c · ρ / (1 − ρ)⌉ (spec: r(1 − ρ) ≥ cρ). */
export function donorsNeeded(replicas: number, bits: number, weightBits: number): number {
  const ratio = bits / weightBits;
  // The guard keeps 1 · 0.5 / 0.5 from becoming 2 by rounding.
  return Math.max(0, Math.ceil((replicas * ratio) / (1 - ratio) - 1e-9));
}

/**
 * Copies the busiest experts at low precision and pays for the copies by quantising the least important
 * ones (Replicate and Quantize, arXiv 2602.19938; the sources leave the placement open, it is ours).
 *
 * Replicas one by one: the expert with the largest load per instance gets one more, on the GPU with the
 * least load that does not hold it yet (ties: the lowest number); the load is then split evenly over its
 * instances. The replica is the last slot of its GPU. Donors are the least important experts that were not
 * replicated (ties: the lowest number); or, with losses, the experts and widths that cost least among all that
 * leave the weights as many bits as shipped (MC's integer program, arXiv 2410.06270, §3.2).
 *
 * @throws RangeError where too few experts are left to pay
 * @param base one slot per expert
 * @param loads copies by expert on the calibration part
 * @param importance by expert; larger is more important
 */
export function replicateQuantize(
  base: Placement,
  loads: ArrayLike<number>,
  importance: ArrayLike<number>,
  weightBits: number,
  rule: ReplicateQuantizeRule,
): Placement {
  const { gpus, experts } = base;
  const slots = slotsByGpu(base);
  const bits = slots.map((own) => own.map(() => weightBits));
  const instances = new Int32Array(experts).fill(1);
  const replicated = new Set<number>();
  const replicasOn = new Int32Array(gpus);
  for (let i = 0; i < rule.replicas; i++) {
    const hot = busiest(loads, instances, gpus);
    const gpu = leastLoadedWithout(hot, slots, loads, instances);
    slots[gpu].push(hot);
    bits[gpu].push(rule.bits);
    instances[hot]++;
    replicated.add(hot);
    replicasOn[gpu]++;
  }
  const quantise = (candidates: number[], count: number) => {
    const byImportance = candidates
      .filter((expert) => !replicated.has(expert))
      .sort((a, b) => importance[a] - importance[b] || a - b);
    if (byImportance.length < count) {
      throw new RangeError(
        `replicas: found ${rule.replicas} replicas that need ${count} experts to pay for them where only ` +
          `${byImportance.length} are free, allowed: fewer replicas, fewer bits, or donors: global`,
      );
    }
    for (const expert of byImportance.slice(0, count)) {
      const gpu = base.home[expert];
      bits[gpu][slots[gpu].indexOf(expert)] = rule.bits;
    }
  };
  if (rule.losses) {
    const free = Array.from({ length: experts }, (_, e) => e).filter((expert) => !replicated.has(expert));
    const budget = free.length * weightBits - rule.replicas * rule.bits;
    const planned = planDonors(free, rule.losses, weightBits, budget);
    free.forEach((expert, i) => {
      const gpu = base.home[expert];
      bits[gpu][slots[gpu].indexOf(expert)] = planned[i];
    });
  } else if (rule.donors === 'global') {
    quantise(
      Array.from({ length: experts }, (_, e) => e),
      donorsNeeded(rule.replicas, rule.bits, weightBits),
    );
  } else {
    replicasOn.forEach((count, gpu) => {
      const own = slots[gpu].filter((expert) => base.home[expert] === gpu);
      quantise(own, donorsNeeded(count, rule.bits, weightBits));
    });
  }
  return placementOf(slots, experts, bits, base.home);
}

/** Bits of the experts that may pay, within a budget for all of them. */
function planDonors(
  free: readonly number[],
  { bits, costs }: DonorLosses,
  weightBits: number,
  budget: number,
): number[] {
  const asShipped = 0;
  const own = free.map((expert) => [...costs[expert], asShipped]);
  return assignBits(own, [...bits, weightBits], budget, false).bits;
}

/** The expert with the largest load per instance that some GPU does not hold yet; ties: the lowest number. */
function busiest(loads: ArrayLike<number>, instances: Int32Array, gpus: number): number {
  let best = -1;
  for (let e = 0; e < instances.length; e++) {
    if (instances[e] >= gpus) continue;
    if (best < 0 || loads[e] / instances[e] > loads[best] / instances[best]) best = e;
  }
  return best;
}

function leastLoadedWithout(
  expert: number,
  slots: number[][],
  loads: ArrayLike<number>,
  instances: Int32Array,
): number {
  let best = -1;
  let least = Infinity;
  slots.forEach((own, gpu) => {
    if (own.includes(expert)) return;
    const load = own.reduce((sum, held) => sum + loads[held] / instances[held], 0);
    if (load < least) {
      least = load;
      best = gpu;
    }
  });
  return best;
}
