import { binomial, randomStream } from '../../routing/index.js';
import type { Placement } from '../placement.js';
import { Slices } from '../plan.js';

/** How the copies of a replicated expert are divided over its instances. */
export const splits = ['random', 'even', 'least-loaded'] as const;
export type Split = (typeof splits)[number];

/** The GPUs that hold an instance of every replicated expert, in GPU order. */
export function replicatedExperts({
  experts,
  firstSlot,
  slotExpert,
  gpus,
}: Placement): Map<number, number[]> {
  const holders: number[][] = Array.from({ length: experts }, () => []);
  for (let gpu = 0; gpu < gpus; gpu++) {
    for (let slot = firstSlot[gpu]; slot < firstSlot[gpu + 1]; slot++) {
      const own = holders[slotExpert[slot]];
      if (!own.includes(gpu)) own.push(gpu);
    }
  }
  return new Map([...holders.entries()].filter(([, gpusOfExpert]) => gpusOfExpert.length > 1));
}

/**
 * Slices of all replicated experts.
 *
 * - `random`: every copy goes to an instance at random, source by source (Replicate and Quantize as far as
 *   it is described);
 * - `even`: every source divides its copies evenly, what does not divide going to the instances in turn;
 * - `least-loaded`: all copies of an expert together raise its least loaded instances to one level, experts
 *   by falling load; sources are cut in order.
 *
 * @param counts [source · experts + expert]
 * @param seed names the draws of `random`
 */
export function splitOverReplicas(
  replicated: ReadonlyMap<number, readonly number[]>,
  placement: Placement,
  counts: Int32Array,
  loads: ArrayLike<number>,
  split: Split,
  seed: string,
  into: Slices,
): void {
  into.count = 0;
  if (split === 'least-loaded') {
    splitByLoad(replicated, placement, loads, into);
    return;
  }
  const random = split === 'random' ? randomStream(seed, 'replica') : null;
  const { experts, gpus } = placement;
  for (const [expert, holders] of replicated) {
    let position = 0;
    let turn = 0;
    for (let source = 0; source < gpus; source++) {
      let left = counts[source * experts + expert];
      const even = Math.floor(left / holders.length);
      const odd = left % holders.length;
      for (let i = 0; i < holders.length; i++) {
        const after = holders.length - i;
        let share: number;
        if (random) share = after === 1 ? left : binomial(left, 1 / after, random);
        else share = even + ((i - turn + holders.length) % holders.length < odd ? 1 : 0);
        if (share > 0) into.add(expert, holders[i], position, position + share);
        position += share;
        left -= share;
      }
      turn = (turn + odd) % holders.length;
    }
  }
}

function splitByLoad(
  replicated: ReadonlyMap<number, readonly number[]>,
  placement: Placement,
  loads: ArrayLike<number>,
  into: Slices,
): void {
  const gpuLoad = new Float64Array(placement.gpus);
  for (let e = 0; e < placement.experts; e++) {
    if (!replicated.has(e)) gpuLoad[placement.home[e]] += loads[e];
  }
  const byLoad = [...replicated].sort(([a], [b]) => loads[b] - loads[a] || a - b);
  for (const [expert, holders] of byLoad) {
    const load = loads[expert];
    const shares = waterFill(
      holders.map((gpu) => gpuLoad[gpu]),
      load,
    );
    let position = 0;
    holders.forEach((gpu, i) => {
      gpuLoad[gpu] += shares[i];
      if (shares[i] > 0) into.add(expert, gpu, position, position + shares[i]);
      position += shares[i];
    });
  }
}

/** Whole amounts that sum to `amount` and raise the lowest levels to a common one; remainders in order. */
function waterFill(levels: readonly number[], amount: number): number[] {
  const order = [...levels.keys()].sort((a, b) => levels[a] - levels[b] || a - b);
  let used = 1;
  let sum = levels[order[0]];
  while (used < order.length && levels[order[used]] * used - sum < amount) sum += levels[order[used++]];
  const level = Math.floor((sum + amount) / used);
  const shares = new Array<number>(levels.length).fill(0);
  let left = amount;
  for (const i of order.slice(0, used)) {
    shares[i] = Math.max(0, Math.min(left, level - levels[i]));
    left -= shares[i];
  }
  for (let i = 0; left > 0; i = (i + 1) % used) {
    shares[order[i]]++;
    left--;
  }
  return shares;
}
