import { z } from 'zod';
import { LentWork } from '../dispatch/lent-work.js';
import { homeOrDivided, type LayerPlan } from '../plan.js';
import { plainTraits, type Policy } from '../policy.js';

const options = z.strictObject({
  kind: z.literal('ultraep'),
  spareSlots: z.int().min(1).default(2).describe('Slots of a GPU for replicas, shared by all layers.'),
  minTokensPerReplica: z
    .int()
    .min(1)
    .default(1024)
    .describe('Smallest share worth a replica where the target is searched for.'),
  threshold: z
    .number()
    .min(0)
    .default(1)
    .describe('The aim is this many times the mean load, at least the mean.'),
  keepOne: z.boolean().default(true).describe('A home keeps one copy of every expert that it lends.'),
});

type Options = z.output<typeof options>;

export interface State {
  options: Options;
  planner: UltraEp;
  home: LayerPlan;
  balanced: LayerPlan;
}

/**
 * UltraEP (arXiv 2606.04101; Dots-Infra/UltraEP): in every batch, replicas for as many copies as bring every GPU of
 * an NVLink domain (a node) down to one target, the smallest that is found.
 */
export const ultraep: Policy<Options, State, z.input<typeof options>> = {
  ...plainTraits,
  kind: 'ultraep',
  summary: 'UltraEP: temporary replicas inside a node that bring its GPUs down to one load, in every batch',
  options,
  sees: () => 'batch',
  symmetric: false,
  plansEachBatch: () => true,
  planKernel: () => ({ seconds: 75e-6, source: 'ultraep: its figures, 67 to 78 µs, arXiv 2606.04101' }),
  movesWeights: () => true,
  notes: () => [
    'ultraep: spare slots count as borrowed weights while they are in use; weights travel one to one, where UltraEP multicasts',
  ],
  start(chosen, { gpus, gpusPerNode, experts, placement }) {
    const planner = new UltraEp(gpus, gpusPerNode, experts, chosen);
    return { options: chosen, planner, ...homeOrDivided(placement, planner.work) };
  },
  decide(state, { counts, loads }) {
    const { planner, home, balanced } = state;
    const { home: homeOf } = home.placement;
    planner.plan(loads, homeOf);
    return { state, plan: planner.work.divide(counts, loads, homeOf) ? balanced : home };
  },
};

/** Smallest share of a replica: given, or what is needed divided over the GPUs that could help. */
type Floor = 'dynamic' | 'static';

/** UltraEP's planner: whether a target load can be met, and the search for the smallest that can. */
class UltraEp {
  readonly work: LentWork;
  private readonly load: Float64Array;
  private readonly gpuLoads: Float64Array;
  private readonly used: Int32Array;
  /** Experts by home, by falling load, and their first place by GPU. */
  private byHome: number[][] = [];

  constructor(
    private readonly gpus: number,
    private readonly gpusPerNode: number,
    private readonly experts: number,
    private readonly options: Options,
  ) {
    this.work = new LentWork(gpus, experts);
    this.load = new Float64Array(gpus);
    this.gpuLoads = new Float64Array(gpus);
    this.used = new Int32Array(gpus);
  }

  plan(loads: Float64Array, home: Int32Array): void {
    this.work.clear();
    this.gpuLoads.fill(0);
    this.byHome = Array.from({ length: this.gpus }, () => []);
    for (let e = 0; e < this.experts; e++) {
      this.gpuLoads[home[e]] += loads[e];
      if (loads[e] > 0) this.byHome[home[e]].push(e);
    }
    for (const own of this.byHome) own.sort((a, b) => loads[b] - loads[a] || a - b);
    for (let first = 0; first < this.gpus; first += this.gpusPerNode) {
      this.planDomain(first, Math.min(first + this.gpusPerNode, this.gpus), loads);
    }
  }

  private planDomain(first: number, last: number, loads: Float64Array): void {
    let total = 0;
    let most = 0;
    for (let gpu = first; gpu < last; gpu++) {
      total += this.gpuLoads[gpu];
      most = Math.max(most, this.gpuLoads[gpu]);
    }
    const aim = Math.ceil((total / (last - first)) * Math.max(1, this.options.threshold));
    if (most <= aim) return;
    const meets = (target: number, floor: Floor) => this.meets(target, floor, first, last, loads);
    const near = Math.ceil(aim * 1.01);
    for (let i = 0; i < 3; i++) if (meets(near + Math.ceil(0.01 * most) * i, 'dynamic')) return;
    if (meets(aim, 'static')) return;
    // Nothing has to move at the largest load; below it the smallest target that can be met.
    let [low, high] = [aim, most];
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (meets(middle, 'static')) high = middle;
      else low = middle;
    }
    meets(high, 'static');
  }

  /** Tries to bring every GPU of a domain down to a target; what it lends stands even where it fails. */
  private meets(target: number, floor: Floor, first: number, last: number, loads: Float64Array): boolean {
    const { work, load, gpuLoads, used, byHome, gpus, options: chosen } = this;
    for (let gpu = first; gpu < last; gpu++) {
      load[gpu] = gpuLoads[gpu];
      used[gpu] = 0;
      for (const e of byHome[gpu]) work.lent.fill(0, e * gpus, (e + 1) * gpus);
    }
    const sources = Array.from({ length: last - first }, (_, i) => first + i)
      .filter((gpu) => gpuLoads[gpu] > target)
      .sort((a, b) => gpuLoads[b] - gpuLoads[a] || a - b);
    for (const source of sources) {
      for (const expert of byHome[source]) {
        let available = loads[expert] - (chosen.keepOne ? 1 : 0);
        while (load[source] > target && available > 0) {
          const need = load[source] - target;
          const least =
            floor === 'static'
              ? chosen.minTokensPerReplica
              : this.fairShare(need, expert, source, target, first, last);
          const helper = this.helper(expert, source, target, Math.min(need, available), least, first, last);
          if (helper < 0) break;
          const quota = Math.min(need, available, target - load[helper]);
          work.lend(expert, helper, quota);
          used[helper]++;
          load[helper] += quota;
          load[source] -= quota;
          available -= quota;
        }
      }
      if (load[source] > target) return false;
    }
    return true;
  }

  private canHelp(gpu: number, expert: number, source: number, target: number): boolean {
    return (
      gpu !== source &&
      this.load[gpu] < target &&
      this.used[gpu] < this.options.spareSlots &&
      this.work.lentTo(expert, gpu) === 0
    );
  }

  private fairShare(
    need: number,
    expert: number,
    source: number,
    target: number,
    first: number,
    last: number,
  ): number {
    let helpers = 0;
    for (let gpu = first; gpu < last; gpu++) if (this.canHelp(gpu, expert, source, target)) helpers++;
    return Math.max(1, Math.ceil(need / Math.max(1, helpers)));
  }

  /** The GPU with the most room that can take a share worth taking, the lowest number among equals; −1: none. */
  private helper(
    expert: number,
    source: number,
    target: number,
    wanted: number,
    least: number,
    first: number,
    last: number,
  ): number {
    let best = -1;
    for (let gpu = first; gpu < last; gpu++) {
      if (!this.canHelp(gpu, expert, source, target)) continue;
      if (Math.min(wanted, target - this.load[gpu]) < least) continue;
      if (best < 0 || this.load[gpu] < this.load[best]) best = gpu;
    }
    return best;
  }
}
