import type { Placement } from '../placement.js';
import type { SharedWork, SlotCopies } from '../plan.js';
import type { LayerView, PlanKernel } from '../policy.js';

/** Where the shared experts' copies are computed: nowhere (not simulated), at their source, or on GPUs with least to do. */
export const sharedRules = ['none', 'own-gpu', 'waterfill'] as const;
export type SharedRule = (typeof sharedRules)[number];

/** What SGLang's Waterfill takes to choose the GPUs of a batch's shared experts. */
export const WATERFILL: PlanKernel = { seconds: 10e-6, source: 'waterfill: a first guess' };

/** Divides the copies of shared experts, of which every GPU holds an instance, and every token makes one each. */
export class SharedDispatch {
  readonly work: SharedWork;
  private readonly gpuLoads: Float64Array;
  private readonly quota: Float64Array;

  constructor(
    private readonly rule: Exclude<SharedRule, 'none'>,
    private readonly gpus: number,
    experts: number,
  ) {
    this.work = { experts, copies: new Int32Array(gpus * gpus) };
    this.gpuLoads = new Float64Array(gpus);
    this.quota = new Float64Array(gpus);
  }

  /** @param slotCopies null: every routed copy is computed at its expert's home */
  divide(
    placement: Placement,
    { tokensBySource, loads }: LayerView,
    slotCopies: SlotCopies | null,
  ): SharedWork {
    const { copies } = this.work;
    copies.fill(0);
    const tokens = tokensBySource!;
    if (this.rule === 'own-gpu') {
      for (let gpu = 0; gpu < this.gpus; gpu++) copies[gpu * this.gpus + gpu] = tokens[gpu];
      return this.work;
    }
    this.loadGpus(placement, loads, slotCopies);
    this.fillUp(tokens);
    this.share(tokens);
    return this.work;
  }

  private loadGpus({ home, slotGpu }: Placement, loads: Float64Array, slotCopies: SlotCopies | null): void {
    const { gpuLoads } = this;
    gpuLoads.fill(0);
    if (slotCopies === null) {
      for (let e = 0; e < home.length; e++) gpuLoads[home[e]] += loads[e];
      return;
    }
    const { slots, copies } = slotCopies;
    for (let cell = 0; cell < this.gpus * slots; cell++) gpuLoads[slotGpu[cell % slots]] += copies[cell];
  }

  /** Tokens that every GPU takes: what raises the least loaded to one level, in whole tokens. */
  private fillUp(tokens: Int32Array): void {
    const { gpuLoads, quota, gpus, work } = this;
    quota.fill(0);
    let left = 0;
    for (let source = 0; source < gpus; source++) left += tokens[source];
    const order = Array.from(gpuLoads.keys()).sort((a, b) => gpuLoads[a] - gpuLoads[b] || a - b);
    let used = 1;
    let sum = gpuLoads[order[0]];
    while (used < gpus && gpuLoads[order[used]] * used - sum < left * work.experts)
      sum += gpuLoads[order[used++]];
    const level = (sum + left * work.experts) / used;
    for (let i = 0; i < used; i++) {
      const gpu = order[i];
      quota[gpu] = Math.min(left, Math.floor(Math.max(0, level - gpuLoads[gpu]) / work.experts));
      left -= quota[gpu];
    }
    for (let i = 0; left > 0; i = (i + 1) % used, left--) quota[order[i]]++;
  }

  /** Every source's tokens to its own quota first, then to those left, GPU after GPU. */
  private share(tokens: Int32Array): void {
    const { quota, gpus, work } = this;
    for (let source = 0; source < gpus; source++) {
      const own = Math.min(tokens[source], quota[source]);
      work.copies[source * gpus + source] = own;
      quota[source] -= own;
    }
    let gpu = 0;
    for (let source = 0; source < gpus; source++) {
      let left = tokens[source] - work.copies[source * gpus + source];
      while (left > 0) {
        while (quota[gpu] === 0) gpu++;
        const taken = Math.min(left, quota[gpu]);
        work.copies[source * gpus + gpu] += taken;
        quota[gpu] -= taken;
        left -= taken;
      }
    }
  }
}
