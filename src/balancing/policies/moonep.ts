import { z } from 'zod';
import { LentWork } from '../dispatch/lent-work.js';
import { homeOrDivided, type LayerPlan } from '../plan.js';
import { plainTraits, type Policy } from '../policy.js';

const options = z.strictObject({
  kind: z.literal('moonep'),
  spareSlots: z
    .int()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      'Foreign experts that a GPU computes in a layer at most; null: as many as its own, as MoonEP states.',
    ),
});

type Options = z.output<typeof options>;

export interface State {
  planner: ExactBalance;
  home: LayerPlan;
  balanced: LayerPlan;
}

/**
 * MoonEP's contract (MoonshotAI/MoonEP): in every batch every GPU computes the same number of copies, with at most as
 * many foreign experts as it has itself. An approximation: its planner is not published in detail; here the GPU that
 * lacks most takes copies of the largest expert of the GPU that has most too many, and with its last spare slot of an
 * expert that fills it up, whoever lends it. Where the slots do not suffice, copies stay at home.
 */
export const moonep: Policy<Options, State, z.input<typeof options>> = {
  ...plainTraits,
  kind: 'moonep',
  summary: 'approximation of MoonEP: every GPU computes equally many copies, in every batch',
  options,
  sees: () => 'batch',
  symmetric: false,
  plansEachBatch: () => true,
  movesWeights: () => true,
  notes: () => [
    'moonep: approximation; a greedy plan in place of its own, weights travel within the layer where MoonEP prefetches ' +
      'them, and buffers have the size of the batch where its shapes are static',
  ],
  start({ spareSlots }, { gpus, experts, placement }) {
    const planner = new ExactBalance(gpus, experts, spareSlots ?? Math.ceil(experts / gpus));
    return { planner, ...homeOrDivided(placement, planner.work) };
  },
  decide(state, { counts, loads }) {
    const { planner, home, balanced } = state;
    const { home: homeOf } = home.placement;
    planner.plan(loads, homeOf);
    return { state, plan: planner.work.divide(counts, loads, homeOf) ? balanced : home };
  },
};

/** Lends copies until every GPU computes its share, or no spare slot can help any more. */
class ExactBalance {
  readonly work: LentWork;
  private readonly atHome: Float64Array;
  /** Copies that a GPU computes beyond its share; below 0: that it lacks. */
  private readonly excess: Float64Array;
  private readonly used: Int32Array;
  private readonly full: Uint8Array;

  constructor(
    private readonly gpus: number,
    experts: number,
    private readonly spareSlots: number,
  ) {
    this.work = new LentWork(gpus, experts);
    this.atHome = new Float64Array(experts);
    this.excess = new Float64Array(gpus);
    this.used = new Int32Array(gpus);
    this.full = new Uint8Array(gpus);
  }

  /** @param home GPU by expert */
  plan(loads: Float64Array, home: Int32Array): void {
    const { work, atHome, excess, used, full, gpus } = this;
    work.clear();
    used.fill(0);
    full.fill(0);
    atHome.set(loads);
    excess.fill(0);
    let total = 0;
    for (let e = 0; e < loads.length; e++) {
      excess[home[e]] += loads[e];
      total += loads[e];
    }
    for (let gpu = 0; gpu < gpus; gpu++) {
      excess[gpu] -= Math.floor(total / gpus) + (gpu < total % gpus ? 1 : 0);
    }
    for (;;) {
      const poor = this.neediest();
      if (poor < 0) return;
      const expert = this.expertFor(poor, home);
      if (expert < 0) {
        full[poor] = 1;
        continue;
      }
      const last = used[poor] === this.spareSlots - 1;
      const spare = last ? atHome[expert] : Math.min(excess[home[expert]], atHome[expert]);
      const copies = Math.min(-excess[poor], spare);
      if (work.lentTo(expert, poor) === 0) used[poor]++;
      if (used[poor] === this.spareSlots) full[poor] = 1;
      work.lend(expert, poor, copies);
      atHome[expert] -= copies;
      excess[home[expert]] -= copies;
      excess[poor] += copies;
    }
  }

  /** The GPU that lacks most and has a spare slot, or −1. */
  private neediest(): number {
    const { excess, full, gpus } = this;
    let poor = -1;
    for (let gpu = 0; gpu < gpus; gpu++) {
      if (!full[gpu] && excess[gpu] < 0 && (poor < 0 || excess[gpu] < excess[poor])) poor = gpu;
    }
    return poor;
  }

  /** The expert to take copies of, or −1: of the GPU with the largest excess, in the last slot one that fills it up. */
  private expertFor(poor: number, home: Int32Array): number {
    const { excess, atHome, used } = this;
    const last = used[poor] === this.spareSlots - 1;
    let best = -1;
    for (let e = 0; e < home.length; e++) {
      if (home[e] === poor || atHome[e] === 0) continue;
      const enough = last && atHome[e] >= -excess[poor];
      if (!enough && excess[home[e]] <= 0) continue;
      if (best < 0 || this.isBetter(e, best, home, last ? -excess[poor] : 0)) best = e;
    }
    return best;
  }

  /** @param need copies that should come from one expert; 0: any number will do */
  private isBetter(expert: number, than: number, home: Int32Array, need: number): boolean {
    const { atHome, excess } = this;
    if (need > 0 && atHome[expert] >= need !== atHome[than] >= need) return atHome[expert] >= need;
    const [own, other] = [excess[home[expert]], excess[home[than]]];
    return own !== other ? own > other : atHome[expert] > atHome[than];
  }
}
