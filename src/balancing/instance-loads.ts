import type { LayerLoads } from './layer-work.js';
import type { LayerPlan } from './plan.js';

/**
 * What every instance of an expert computes under a plan: one entry per slot, idle ones too, and one per expert that a
 * GPU borrows. Parallel arrays, of which the first `count` entries count; reused from layer to layer.
 */
export class InstanceLoads {
  count = 0;
  expert = new Int32Array(0);
  gpu = new Int32Array(0);
  /** Copies kept. */
  copies = new Float64Array(0);

  of(plan: LayerPlan, base: LayerLoads): this {
    const { slotExpert, slotGpu, home } = plan.placement;
    this.count = 0;
    if (plan.uniform) {
      for (let e = 0; e < base.experts; e++) this.add(e, home[e], base.total / base.experts);
      return this;
    }
    slotExpert.forEach((expert, slot) => this.add(expert, slotGpu[slot], 0));
    if (plan.slotCopies) this.addSlots(plan.slotCopies.copies, base.gpus);
    else this.addHomesAndSlices(plan, base);
    return this;
  }

  private addSlots(cells: Int32Array, sources: number): void {
    for (let source = 0; source < sources; source++) {
      const row = source * this.count;
      for (let slot = 0; slot < this.count; slot++) this.copies[slot] += cells[row + slot];
    }
  }

  private addHomesAndSlices({ placement, slices, drop }: LayerPlan, base: LayerLoads): void {
    const sliced = new Set<number>();
    for (let i = 0; slices !== null && i < slices.count; i++) {
      sliced.add(slices.expert[i]);
      this.addOn(slices.expert[i], slices.gpu[i], slices.end[i] - slices.start[i]);
    }
    for (let e = 0; e < base.experts; e++) {
      if (!sliced.has(e)) this.addOn(e, placement.home[e], drop ? kept(drop.kept, e, base) : base.loads[e]);
    }
  }

  /** Adds copies to the first instance of an expert on a GPU, or to one that it borrows. */
  private addOn(expert: number, gpu: number, copies: number): void {
    for (let i = 0; i < this.count; i++) {
      if (this.expert[i] !== expert || this.gpu[i] !== gpu) continue;
      this.copies[i] += copies;
      return;
    }
    this.add(expert, gpu, copies);
  }

  private add(expert: number, gpu: number, copies: number): void {
    if (this.count === this.expert.length) this.grow();
    this.expert[this.count] = expert;
    this.gpu[this.count] = gpu;
    this.copies[this.count] = copies;
    this.count++;
  }

  private grow(): void {
    const { expert, gpu, copies } = this;
    const size = Math.max(64, 2 * this.count);
    this.expert = new Int32Array(size);
    this.gpu = new Int32Array(size);
    this.copies = new Float64Array(size);
    this.expert.set(expert);
    this.gpu.set(gpu);
    this.copies.set(copies);
  }
}

function kept(cells: Int32Array, expert: number, { gpus, experts }: LayerLoads): number {
  let sum = 0;
  for (let source = 0; source < gpus; source++) sum += cells[source * experts + expert];
  return sum;
}
