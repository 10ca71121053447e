import { Slices, WeightTransfers } from '../plan.js';

export interface SpillOptions {
  /** α: a GPU's budget of copies is α times the mean. */
  alpha: number;
  /** m: the smallest chunk worth giving to a helper. */
  minTokensPerGemm: number;
  /** The official code, or the paper's pseudo-code. */
  variant: 'code' | 'paper';
  /** Which GPUs may help. */
  helpers: 'any' | 'intra-node';
}

/**
 * LLEP's least-loaded assignment. `code` follows SalesforceAIResearch/LeastLoadedEP @ 0349746,
 * llep/gpt_oss_llep.py, compute_llep_lpt_plan, to the letter; `paper` is Algorithms 2 and 3 of
 * arXiv 2601.17111 (a cap with one floor, one spill loop that sorts again after every chunk).
 *
 * Experts are visited by falling load. An expert stays at home as far as the home's budget allows, where
 * work not yet visited counts as taken; what is left over goes in chunks to the GPUs with the least
 * effective load (assigned plus not yet visited). A chunk below m is refused unless it is the tail; when
 * every helper refuses, the rest is forced onto the first one, over its budget if need be.
 */
export class LeastLoadedSpill {
  readonly slices: Slices;
  readonly transfers: WeightTransfers;
  /** Copies that each GPU computes under the last plan. */
  readonly assigned: Float64Array;
  /** Copies that a GPU may compute under the last plan. */
  cap = 0;

  private readonly pending: Float64Array;
  private readonly order: Float64Array;
  private readonly idStep: number;
  private readonly frozen: Float64Array;

  constructor(
    private readonly gpus: number,
    private readonly gpusPerNode: number,
    private readonly experts: number,
    private readonly options: SpillOptions,
  ) {
    this.slices = new Slices(experts + 4 * gpus);
    this.transfers = new WeightTransfers(4 * gpus);
    this.assigned = new Float64Array(gpus);
    this.pending = new Float64Array(gpus);
    this.frozen = new Float64Array(gpus);
    this.order = new Float64Array(experts);
    this.idStep = 2 ** Math.ceil(Math.log2(experts));
  }

  /**
   * Writes `slices`, `transfers` and `assigned`.
   * @param loads copies by expert
   * @param home GPU by expert
   */
  plan(loads: ArrayLike<number>, home: Int32Array): void {
    const { pending, assigned, slices, order, idStep } = this;
    slices.count = 0;
    this.transfers.count = 0;
    pending.fill(0);
    assigned.fill(0);
    let total = 0;
    let largest = 0;
    for (let e = 0; e < this.experts; e++) {
      const load = loads[e];
      pending[home[e]] += load;
      total += load;
      if (load > largest) largest = load;
    }
    const cap = (this.cap = this.budget(total));
    for (let e = 0; e < this.experts; e++) order[e] = (largest - loads[e]) * idStep + e;
    order.sort();

    for (let i = 0; i < this.experts; i++) {
      const expert = order[i] % idStep;
      const load = loads[expert];
      if (load === 0) break;
      const gpu = home[expert];
      pending[gpu] -= load;
      const room = cap - assigned[gpu] - pending[gpu];
      if (room >= load) {
        slices.add(expert, gpu, 0, load);
        assigned[gpu] += load;
      } else if (room > 0) {
        slices.add(expert, gpu, 0, room);
        assigned[gpu] += room;
        this.spill(expert, gpu, room, load);
      } else if (this.options.variant === 'paper') {
        this.spill(expert, gpu, 0, load);
      } else {
        this.spillOnce(expert, gpu, load);
      }
    }
  }

  private budget(total: number): number {
    const { alpha, variant } = this.options;
    if (variant === 'paper') return Math.max(1, Math.floor((alpha * total) / this.gpus));
    const even = Math.floor(total / this.gpus);
    return Math.max(1, even > 0 ? Math.floor(alpha * even) : total);
  }

  /** Gives copies [start, load) away, looking anew for the least loaded helper after every chunk. */
  private spill(expert: number, home: number, start: number, load: number): void {
    const { assigned, pending, cap } = this;
    while (start < load) {
      const helper = this.leastLoaded(home);
      if (helper < 0) {
        this.keep(expert, home, start, load);
        return;
      }
      // The least loaded helper has the most room: if it refuses, all do, and it is the one to be forced.
      const room = cap - assigned[helper] - pending[helper];
      const chunk = this.accepted(load - start, room);
      const size = chunk > 0 ? chunk : load - start;
      this.give(expert, home, helper, start, start + size);
      start += size;
    }
  }

  /** Gives all copies away in one pass over the helpers as they stand now, the rest to the first of them. */
  private spillOnce(expert: number, home: number, load: number): void {
    const { frozen, assigned, pending, cap } = this;
    for (let gpu = 0; gpu < this.gpus; gpu++) frozen[gpu] = assigned[gpu] + pending[gpu];
    const first = this.leastOf(frozen, home);
    if (first < 0) {
      this.keep(expert, home, 0, load);
      return;
    }
    let start = 0;
    // Room shrinks along the order, so the pass ends at the first helper that refuses.
    for (let helper = first; helper >= 0 && start < load; helper = this.leastOf(frozen, home)) {
      const chunk = this.accepted(load - start, cap - frozen[helper]);
      if (chunk === 0) break;
      frozen[helper] = Infinity;
      this.give(expert, home, helper, start, start + chunk);
      start += chunk;
    }
    if (start < load) this.give(expert, home, first, start, load);
  }

  /** Copies that a helper with this room takes of `rest`; 0 where it refuses. */
  private accepted(rest: number, room: number): number {
    if (room <= 0) return 0;
    const chunk = Math.min(rest, room);
    return chunk < this.options.minTokensPerGemm && rest > chunk ? 0 : chunk;
  }

  private leastLoaded(home: number): number {
    const { frozen, assigned, pending } = this;
    for (let gpu = 0; gpu < this.gpus; gpu++) frozen[gpu] = assigned[gpu] + pending[gpu];
    return this.leastOf(frozen, home);
  }

  /** The helper with the least effective load, the lowest number among equals; −1 where there is none. */
  private leastOf(effective: Float64Array, home: number): number {
    const { gpusPerNode, options } = this;
    const near = options.helpers === 'intra-node';
    const from = near ? home - (home % gpusPerNode) : 0;
    const to = near ? Math.min(from + gpusPerNode, this.gpus) : this.gpus;
    let best = -1;
    let least = Infinity;
    for (let gpu = from; gpu < to; gpu++) {
      if (gpu !== home && effective[gpu] < least) {
        least = effective[gpu];
        best = gpu;
      }
    }
    return best;
  }

  private give(expert: number, home: number, helper: number, start: number, end: number): void {
    this.slices.add(expert, helper, start, end);
    this.transfers.add(expert, home, helper, start, end);
    this.assigned[helper] += end - start;
  }

  /** Without helpers everything stays at home, in one slice with what it already keeps. */
  private keep(expert: number, home: number, start: number, end: number): void {
    const { slices } = this;
    const last = slices.count - 1;
    if (last >= 0 && slices.expert[last] === expert && slices.gpu[last] === home) slices.end[last] = end;
    else slices.add(expert, home, start, end);
    this.assigned[home] += end - start;
  }
}
