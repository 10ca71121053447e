import type { Placement } from '../placement.js';
import type { SlotCopies } from '../plan.js';
import type { LayerView } from '../policy.js';
import { BalancedFlow } from './balanced-flow.js';
import { distanceOf, type Dispatcher } from './rule.js';

/** Solvers by placement, which stays the same over many batches. */
export class FlowCache {
  private readonly known = new WeakMap<Placement, BalancedFlow>();

  of(placement: Placement): BalancedFlow {
    let flow = this.known.get(placement);
    if (!flow) this.known.set(placement, (flow = new BalancedFlow(placement)));
    return flow;
  }
}

/**
 * A rule that gives every GPU a quota of an expert's copies, in whole copies. A source fills the quota of its own GPU
 * first, then those of its node, then any.
 * @param sharing how slots of one expert on one GPU share its quota: evenly, or all of it in the first one
 * @param solve writes the quotas
 */
export function byQuota(
  gpusPerNode: number,
  sharing: 'even' | 'first',
  solve: (flow: BalancedFlow, view: LayerView, placement: Placement) => void,
): Dispatcher {
  const flows = new FlowCache();
  let room = new Float64Array(0);
  return {
    divide(placement, view, into) {
      const flow = flows.of(placement);
      if (room.length < into.slots) room = new Float64Array(into.slots);
      solve(flow, view, placement);
      fillSlots(placement, view, flow, gpusPerNode, sharing, room, into);
    },
  };
}

function fillSlots(
  placement: Placement,
  { counts, loads }: LayerView,
  { experts: replicated, firstEdge, edgeGpu, share }: BalancedFlow,
  gpusPerNode: number,
  sharing: 'even' | 'first',
  /** Copies that every slot may still take; written before it is read. */
  room: Float64Array,
  { copies, slots }: SlotCopies,
): void {
  const { gpus, experts, firstInstance, instance, slotGpu } = placement;
  let next = 0;
  for (let e = 0; e < experts; e++) {
    const first = firstInstance[e];
    const last = firstInstance[e + 1];
    if (replicated[next] !== e) shareOut(placement, e, slotGpu[instance[first]], loads[e], sharing, room);
    else {
      for (let edge = firstEdge[next]; edge < firstEdge[next + 1]; edge++) {
        shareOut(placement, e, edgeGpu[edge], share[edge], sharing, room);
      }
      next++;
    }
    for (let distance = 0; distance < 3; distance++) {
      for (let source = 0; source < gpus; source++) {
        let left = counts[source * experts + e];
        if (left === 0) continue;
        for (let i = first; i < last; i++) left -= copies[source * slots + instance[i]];
        for (let i = first; i < last && left > 0; i++) {
          const slot = instance[i];
          if (room[slot] === 0 || distanceOf(slotGpu[slot], source, gpusPerNode) !== distance) continue;
          const taken = Math.min(left, room[slot]);
          copies[source * slots + slot] += taken;
          room[slot] -= taken;
          left -= taken;
        }
      }
    }
  }
}

/** Shares a GPU's quota of an expert out over the slots that it has for it. */
function shareOut(
  { firstInstance, instance, slotGpu }: Placement,
  expert: number,
  gpu: number,
  quota: number,
  sharing: 'even' | 'first',
  room: Float64Array,
): void {
  const first = firstInstance[expert];
  const last = firstInstance[expert + 1];
  let slots = 0;
  for (let i = first; i < last; i++) if (slotGpu[instance[i]] === gpu) slots++;
  let left = quota;
  for (let i = first; i < last; i++) {
    if (slotGpu[instance[i]] !== gpu) continue;
    const own = sharing === 'first' ? left : Math.ceil(left / slots--);
    room[instance[i]] = own;
    left -= own;
  }
}
