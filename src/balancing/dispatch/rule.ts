import type { z } from 'zod';
import type { Placement } from '../placement.js';
import type { SlotCopies } from '../plan.js';
import type { LayerView, PlanKernel, PolicySetting, Refusal } from '../policy.js';

/** Decides which instance of an expert computes which copies, on any placement. */
export interface DispatchRule<Options = unknown, Input = unknown> {
  kind: string;
  /** One line for `epsim list`. */
  summary: string;
  options: z.ZodType<Options, Input>;
  /** Decides from counts of the whole batch, which somebody must exchange and read. */
  plansEachBatch: boolean;
  /** The kernel that decides; null: the host does, or nobody knows. */
  planKernel: PlanKernel | null;
  /** Looks at every token; then it needs them. */
  looksAtTokens: boolean;
  /** Why it can't work here, or null; the option is one of its own, or '' for the rule itself. */
  refusal(options: Options, setting: PolicySetting): Refusal | null;
  start(options: Options, setting: PolicySetting): Dispatcher;
}

/** A dispatch rule at work. */
export interface Dispatcher {
  /** Writes every copy of the batch to a slot that holds its expert; `into` is cleared and of the right size. */
  divide(placement: Placement, view: LayerView, into: SlotCopies): void;
}

/** The traits of a rule in which every source GPU decides for itself, from counts. */
export const plainDispatch = {
  plansEachBatch: false,
  planKernel: null,
  looksAtTokens: false,
  refusal: () => null,
} as const satisfies Partial<DispatchRule>;

/** Divides the copies of one expert from one source over its instances: adds to `copies` from `row` on. */
type Divide = (
  expert: number,
  source: number,
  count: number,
  /** First and, exclusive, last of the expert's instances in `Placement.instance`. */
  first: number,
  last: number,
) => void;

/** Sends the copies of experts with one instance there, and asks `divide` for all others, expert by expert. */
export function eachReplicated(
  { gpus, experts, firstInstance, instance }: Placement,
  counts: Int32Array,
  { copies, slots }: SlotCopies,
  divide: Divide,
): void {
  for (let e = 0; e < experts; e++) {
    const first = firstInstance[e];
    const last = firstInstance[e + 1];
    const only = last - first === 1 ? instance[first] : -1;
    for (let source = 0; source < gpus; source++) {
      const count = counts[source * experts + e];
      if (count === 0) continue;
      if (only >= 0) copies[source * slots + only] = count;
      else divide(e, source, count, first, last);
    }
  }
}

/** How far a GPU is from a source: 0: the GPU itself; 1: in its node; 2: elsewhere. */
export function distanceOf(gpu: number, source: number, gpusPerNode: number): number {
  if (gpu === source) return 0;
  return Math.floor(gpu / gpusPerNode) === Math.floor(source / gpusPerNode) ? 1 : 2;
}
