/** Exponents of use, gate weight and loss in the cost of giving an expert so many bits. */
export interface CostExponents {
  count: number;
  gateWeight: number;
  loss: number;
}

/**
 * Those that give the plans which Mixture Compressor published for Mixtral-8x7B (MC, arXiv 2410.06270, §3.2; its code
 * declares 2 for the loss and applies 1).
 */
export const MC_EXPONENTS: CostExponents = { count: 1, gateWeight: 1.5, loss: 1 };

/** One layer's experts, and what each precision costs each of them. */
export interface LayerSensitivity {
  counts: ArrayLike<number>;
  /** Sums of gate weights. */
  gateWeights: ArrayLike<number>;
  /** [expert][width]. */
  losses: readonly ArrayLike<number>[];
}

/**
 * Costs φᵅ wᵝ εᵞ, [expert][width]: φ and w are shares of the layer's copies and gate weights, ε the loss. A proxy of what
 * quantising does to the output, no accuracy.
 */
export function precisionCosts(
  { counts, gateWeights, losses }: LayerSensitivity,
  { count, gateWeight, loss }: CostExponents = MC_EXPONENTS,
): number[][] {
  const copies = sum(counts);
  const weights = sum(gateWeights);
  return losses.map((own, expert) => {
    const use = share(counts[expert], copies) ** count * share(gateWeights[expert], weights) ** gateWeight;
    return Array.from(own, (error) => use * error ** loss);
  });
}

/** A layer's bits. */
export interface AssignedBits {
  /** By expert. */
  bits: number[];
  /** Sum of the costs. */
  cost: number;
}

/**
 * The bits of every expert that cost least, within a budget for all of them together (MC's integer program, solved
 * exactly by dynamic programming over the bits used).
 *
 * @param costs [expert][width], widths in the order of `bits`
 * @param bits that an expert may have, rising whole numbers
 * @param budget most bits of all experts together
 * @param everyWidth whether every width but the lowest is given to at least one expert, as MC asks for
 * @throws RangeError where no plan keeps within the budget
 */
export function assignBits(
  costs: readonly (readonly number[])[],
  bits: readonly number[],
  budget: number,
  everyWidth = true,
): AssignedBits {
  const experts = costs.length;
  const widths = bits.length;
  const needed = everyWidth ? widths - 1 : 0;
  /** The set of a width alone; one that need not be given is in none. */
  const given = (width: number) => (everyWidth && width > 0 ? 1 << (width - 1) : 0);
  if (experts < needed) {
    throw new RangeError(
      `found ${widths} widths for ${experts} experts, allowed: at most one more than experts`,
    );
  }
  const least =
    experts * bits[0] + (everyWidth ? bits.slice(1).reduce((sum, own) => sum + own - bits[0], 0) : 0);
  if (!(budget >= least)) {
    throw new RangeError(
      `found ${budget} bits for ${experts} experts, allowed: at least ${least} (the lowest width for all${everyWidth ? ', the others once each' : ''})`,
    );
  }
  const most = Math.min(Math.floor(budget), experts * bits[widths - 1]);
  // A state is the bits used so far and which widths were given: [used · sets + set].
  const sets = 1 << needed;
  const states = (most + 1) * sets;
  let reached = new Float64Array(states).fill(Infinity);
  reached[0] = 0;
  const choice = Array.from({ length: experts }, () => new Uint8Array(states));
  for (let expert = 0; expert < experts; expert++) {
    const next = new Float64Array(states).fill(Infinity);
    const chosen = choice[expert];
    for (let used = 0; used <= most; used++) {
      for (let set = 0; set < sets; set++) {
        const before = reached[used * sets + set];
        if (before === Infinity) continue;
        for (let width = 0; width < widths; width++) {
          const after = used + bits[width];
          if (after > most) break;
          const at = after * sets + (set | given(width));
          const cost = before + costs[expert][width];
          if (cost >= next[at]) continue;
          next[at] = cost;
          // Of a state before, the bits follow from the width; of its set, whether the width was new.
          chosen[at] = 2 * width + (set === (set | given(width)) ? 1 : 0);
        }
      }
    }
    reached = next;
  }
  let at = -1;
  for (let used = 0; used <= most; used++) {
    const end = used * sets + sets - 1;
    if (reached[end] < (at < 0 ? Infinity : reached[at])) at = end;
  }
  const cost = reached[at];
  const assigned = new Array<number>(experts);
  for (let expert = experts - 1; expert >= 0; expert--) {
    const width = choice[expert][at] >> 1;
    const wasGiven = (choice[expert][at] & 1) === 1;
    assigned[expert] = bits[width];
    const set = at % sets;
    at = (Math.floor(at / sets) - bits[width]) * sets + (wasGiven ? set : set & ~given(width));
  }
  return { bits: assigned, cost };
}

function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}

function share(value: number, of: number): number {
  return of === 0 ? 0 : value / of;
}
