import type { Placement } from '../placement.js';

/**
 * Divides the loads of replicated experts over the GPUs that hold them so that the largest GPU load is as small as
 * it can be: the linear program of LPLB (deepseek-ai/LPLB; SGLang's `lp` dispatch), solved exactly as a parametric
 * flow. Starting from a bound t (the mean), what exceeds t on a GPU is pushed along chains of experts to GPUs below
 * it; where a GPU's excess reaches none, the GPUs it reaches carry their load whatever is done, and their mean is
 * the next t. The last t is both reached and a lower bound.
 *
 * With whole numbers throughout (`whole`), t is rounded up and the outcome is the best in whole copies.
 */
export class BalancedFlow {
  /** Load by GPU under the last division. */
  readonly gpuLoads: Float64Array;
  /** Experts that several GPUs hold. */
  readonly experts: readonly number[];
  /** Shares of the i-th of them: edges `firstEdge[i]` up to `firstEdge[i + 1]`. */
  readonly firstEdge: Int32Array;
  readonly edgeGpu: Int32Array;
  /** Load of every edge. */
  readonly share: Float64Array;

  private readonly expertOfEdge: Int32Array;
  /** Edges by GPU. */
  private readonly firstAtGpu: Int32Array;
  private readonly edgeAtGpu: Int32Array;
  /** GPU of each expert that only one GPU holds, else −1. */
  private readonly onlyGpu: Int32Array;
  private readonly fixed: Float64Array;
  private readonly loads: Float64Array;
  private readonly queue: Int32Array;
  private readonly seenGpu: Uint8Array;
  private readonly seenExpert: Uint8Array;
  /** Edge by which load leaves the GPU before, and edge by which it enters this one. */
  private readonly leaving: Int32Array;
  private readonly entering: Int32Array;
  private readonly order: Int32Array;
  private readonly levels: Int32Array;
  private total = 0;
  private tolerance = 0;

  constructor(placement: Placement) {
    const { gpus, firstInstance, instance, slotGpu } = placement;
    const replicated: number[] = [];
    const firstEdge = [0];
    const edgeGpu: number[] = [];
    this.onlyGpu = new Int32Array(placement.experts).fill(-1);
    for (let e = 0; e < placement.experts; e++) {
      const holders = new Set<number>();
      for (let i = firstInstance[e]; i < firstInstance[e + 1]; i++) holders.add(slotGpu[instance[i]]);
      if (holders.size === 1) {
        this.onlyGpu[e] = slotGpu[instance[firstInstance[e]]];
        continue;
      }
      replicated.push(e);
      edgeGpu.push(...holders);
      firstEdge.push(edgeGpu.length);
    }
    this.experts = replicated;
    this.firstEdge = Int32Array.from(firstEdge);
    this.edgeGpu = Int32Array.from(edgeGpu);
    this.share = new Float64Array(edgeGpu.length);
    this.expertOfEdge = new Int32Array(edgeGpu.length);
    replicated.forEach((_, i) => this.expertOfEdge.fill(i, firstEdge[i], firstEdge[i + 1]));
    this.firstAtGpu = new Int32Array(gpus + 1);
    for (const gpu of edgeGpu) this.firstAtGpu[gpu + 1]++;
    for (let gpu = 0; gpu < gpus; gpu++) this.firstAtGpu[gpu + 1] += this.firstAtGpu[gpu];
    const next = this.firstAtGpu.slice();
    this.edgeAtGpu = new Int32Array(edgeGpu.length);
    edgeGpu.forEach((gpu, edge) => (this.edgeAtGpu[next[gpu]++] = edge));
    this.gpuLoads = new Float64Array(gpus);
    this.fixed = new Float64Array(gpus);
    this.loads = new Float64Array(replicated.length);
    this.queue = new Int32Array(gpus);
    this.seenGpu = new Uint8Array(gpus);
    this.seenExpert = new Uint8Array(replicated.length);
    this.leaving = new Int32Array(gpus);
    this.entering = new Int32Array(gpus);
    this.order = Int32Array.from(replicated.keys());
    this.levels = new Int32Array(gpus);
  }

  /**
   * Fills the least loaded GPUs that hold an expert up to one level, expert by expert, the largest first: a good
   * division, and the one that `balance` starts from.
   * @param loads by expert
   * @param whole in whole copies; loads must be whole then
   */
  fill(loads: ArrayLike<number>, whole: boolean): this {
    this.take(loads, whole);
    this.order.sort((a, b) => this.loads[b] - this.loads[a] || a - b);
    for (const i of this.order) this.fillExpert(i, whole);
    return this;
  }

  /** Takes the loads without dividing those of replicated experts: `put` does. */
  take(loads: ArrayLike<number>, whole: boolean): this {
    const { fixed, gpuLoads, onlyGpu } = this;
    fixed.fill(0);
    this.share.fill(0);
    this.total = 0;
    for (let e = 0; e < onlyGpu.length; e++) {
      this.total += loads[e];
      if (onlyGpu[e] >= 0) fixed[onlyGpu[e]] += loads[e];
    }
    for (let i = 0; i < this.experts.length; i++) this.loads[i] = loads[this.experts[i]];
    gpuLoads.set(fixed);
    this.tolerance = whole ? 0 : 1e-12 * this.total;
    return this;
  }

  /** Adds to an edge's share. */
  put(edge: number, amount: number): void {
    this.share[edge] += amount;
    this.gpuLoads[this.edgeGpu[edge]] += amount;
  }

  /**
   * Makes the largest GPU load as small as it can be.
   * @returns that load
   */
  balance(whole: boolean): number {
    const { gpuLoads, tolerance } = this;
    const gpus = gpuLoads.length;
    const rounded = (level: number) => (whole ? Math.ceil(level) : level);
    let level = rounded(this.total / gpus);
    for (let gpu = 0; gpu < gpus; gpu++) {
      while (gpuLoads[gpu] > level + tolerance) {
        const target = this.reach(gpu, level);
        if (target >= 0) {
          this.push(gpu, target, level);
          continue;
        }
        const next = rounded(this.meanOfReached());
        // Within rounding errors of fractions the level may stand still: it is reached then.
        if (next <= level) break;
        level = next;
      }
    }
    return level;
  }

  private fillExpert(i: number, whole: boolean): void {
    const { firstEdge, edgeGpu, gpuLoads, levels } = this;
    const first = firstEdge[i];
    const count = firstEdge[i + 1] - first;
    const load = this.loads[i];
    if (load === 0) return;
    for (let k = 0; k < count; k++) {
      let at = k;
      while (at > 0 && gpuLoads[edgeGpu[levels[at - 1]]] > gpuLoads[edgeGpu[first + k]]) {
        levels[at] = levels[at - 1];
        at--;
      }
      levels[at] = first + k;
    }
    let used = 0;
    let sum = 0;
    while (used < count && gpuLoads[edgeGpu[levels[used]]] * used - sum < load) {
      sum += gpuLoads[edgeGpu[levels[used]]];
      used++;
    }
    const level = whole ? Math.floor((sum + load) / used) : (sum + load) / used;
    let left = load;
    for (let k = 0; k < used; k++) {
      const edge = levels[k];
      const amount = Math.max(0, Math.min(left, level - gpuLoads[edgeGpu[edge]]));
      this.put(edge, amount);
      left -= amount;
    }
    for (let k = 0; left > 0; k = (k + 1) % used) {
      const amount = whole ? 1 : left;
      this.put(levels[k], amount);
      left -= amount;
    }
  }

  /** Looks for a GPU below `level` that load of `from` can be handed on to; −1 where there is none. */
  private reach(from: number, level: number): number {
    const { firstAtGpu, edgeAtGpu, share, expertOfEdge, firstEdge, edgeGpu, gpuLoads, tolerance } = this;
    const { queue, seenGpu, seenExpert, leaving, entering } = this;
    seenGpu.fill(0);
    seenExpert.fill(0);
    seenGpu[from] = 1;
    queue[0] = from;
    let queued = 1;
    for (let head = 0; head < queued; head++) {
      const gpu = queue[head];
      for (let at = firstAtGpu[gpu]; at < firstAtGpu[gpu + 1]; at++) {
        const out = edgeAtGpu[at];
        const expert = expertOfEdge[out];
        if (seenExpert[expert] || share[out] <= tolerance) continue;
        seenExpert[expert] = 1;
        for (let into = firstEdge[expert]; into < firstEdge[expert + 1]; into++) {
          const next = edgeGpu[into];
          if (seenGpu[next]) continue;
          seenGpu[next] = 1;
          leaving[next] = out;
          entering[next] = into;
          if (gpuLoads[next] < level - tolerance) return next;
          queue[queued++] = next;
        }
      }
    }
    return -1;
  }

  /** Hands load on along the way that `reach` found. */
  private push(from: number, to: number, level: number): void {
    const { gpuLoads, leaving, entering, edgeGpu, share } = this;
    let amount = Math.min(gpuLoads[from] - level, level - gpuLoads[to]);
    for (let gpu = to; gpu !== from; gpu = edgeGpu[leaving[gpu]])
      amount = Math.min(amount, share[leaving[gpu]]);
    for (let gpu = to; gpu !== from; gpu = edgeGpu[leaving[gpu]]) {
      share[leaving[gpu]] -= amount;
      share[entering[gpu]] += amount;
    }
    gpuLoads[from] -= amount;
    gpuLoads[to] += amount;
  }

  /** Mean load of the GPUs that `reach` saw when it found no way out; in exact sums of given loads. */
  private meanOfReached(): number {
    let sum = 0;
    let gpus = 0;
    this.seenGpu.forEach((seen, gpu) => {
      if (!seen) return;
      gpus++;
      sum += this.fixed[gpu];
    });
    this.seenExpert.forEach((seen, i) => {
      if (seen) sum += this.loads[i];
    });
    return sum / gpus;
  }
}
