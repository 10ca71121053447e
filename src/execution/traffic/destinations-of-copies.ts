import type { LayerPlan } from '../../balancing/index.js';
import { NO_EXPERT, type TokenTable } from '../../routing/index.js';
import type { TrafficInput } from './traffic.js';

/**
 * The GPU that computes each copy of a token table. Slices number an expert's copies by source GPU, in the order of
 * the tokens. Of slots a plan says only how many copies each computes per source: those of an expert go there in the
 * order of the tokens, slot by slot.
 */
export class DestinationsOfCopies {
  private gpuOfCopy = new Int32Array(0);
  /** Number of the next copy among its expert's, [source · experts + expert]. */
  private next = new Int32Array(0);
  /** First slice of every expert; −1 without. */
  private firstSlice = new Int32Array(0);

  constructor(private readonly gpus: number) {}

  /** @returns GPU of every copy, [token · topK + choice]; −1 where it is dropped or pruned. The array is reused. */
  of({ plan, base }: TrafficInput, tokens: TokenTable): Int32Array {
    const copies = tokens.count * tokens.topK;
    if (this.gpuOfCopy.length < copies) this.gpuOfCopy = new Int32Array(copies);
    const into = this.gpuOfCopy;
    if (plan.slotCopies !== null) this.fromSlots(into, plan, tokens);
    else if (plan.slices !== null) this.fromSlices(into, plan, tokens, base.counts);
    else this.fromHomes(into, plan, tokens);
    const kept = plan.drop?.keptCopies;
    if (kept) for (let copy = 0; copy < copies; copy++) if (kept[copy] === 0) into[copy] = -1;
    return into;
  }

  private fromHomes(into: Int32Array, { placement }: LayerPlan, { count, topK, experts }: TokenTable): void {
    const { home } = placement;
    for (let copy = 0; copy < count * topK; copy++) {
      const expert = experts[copy];
      into[copy] = expert === NO_EXPERT ? -1 : home[expert];
    }
  }

  private fromSlots(into: Int32Array, { placement, slotCopies }: LayerPlan, table: TokenTable): void {
    const { firstInstance, instance, slotGpu, experts } = placement;
    const { copies, slots } = slotCopies!;
    const next = this.cleared(experts);
    for (let token = 0, copy = 0; token < table.count; token++) {
      const source = table.source[token];
      for (let choice = 0; choice < table.topK; choice++, copy++) {
        const expert = table.experts[copy];
        if (expert === NO_EXPERT) {
          into[copy] = -1;
          continue;
        }
        let before = next[source * experts + expert]++;
        let at = firstInstance[expert];
        while (before >= copies[source * slots + instance[at]])
          before -= copies[source * slots + instance[at++]];
        into[copy] = slotGpu[instance[at]];
      }
    }
  }

  private fromSlices(into: Int32Array, plan: LayerPlan, table: TokenTable, counts: Int32Array): void {
    const { home, experts } = plan.placement;
    const { expert: sliced, gpu, end, count } = plan.slices!;
    if (this.firstSlice.length !== experts) this.firstSlice = new Int32Array(experts);
    const firstSlice = this.firstSlice.fill(-1);
    for (let slice = count - 1; slice >= 0; slice--) firstSlice[sliced[slice]] = slice;
    const next = this.cleared(experts);
    for (let cell = experts; cell < next.length; cell++)
      next[cell] = next[cell - experts] + counts[cell - experts];
    for (let token = 0, copy = 0; token < table.count; token++) {
      const source = table.source[token];
      for (let choice = 0; choice < table.topK; choice++, copy++) {
        const expert = table.experts[copy];
        if (expert === NO_EXPERT) {
          into[copy] = -1;
          continue;
        }
        let slice = firstSlice[expert];
        if (slice < 0) {
          into[copy] = home[expert];
          continue;
        }
        const number = next[source * experts + expert]++;
        while (end[slice] <= number) slice++;
        into[copy] = gpu[slice];
      }
    }
  }

  private cleared(experts: number): Int32Array {
    const cells = this.gpus * experts;
    if (this.next.length !== cells) this.next = new Int32Array(cells);
    return this.next.fill(0);
  }
}
