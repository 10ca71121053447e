import type { Placement } from '../placement.js';

/**
 * The same placement with every GPU's slots in another order: an expert that a GPU keeps stays in its slot, others
 * fill the holes in their order, so that only changed slots move (vLLM's rule). Both placements must have the same
 * slots on every GPU; where they differ, `next` is returned as it is.
 */
export function alignSlots(current: Placement, next: Placement): Placement {
  const { gpus, firstSlot, slotExpert } = next;
  if (!firstSlot.every((slot, gpu) => slot === current.firstSlot[gpu])) return next;
  /** Slot that each slot of `next` goes to. */
  const target = new Int32Array(slotExpert.length).fill(-1);
  const taken = new Uint8Array(slotExpert.length);
  for (let gpu = 0; gpu < gpus; gpu++) {
    const [from, to] = [firstSlot[gpu], firstSlot[gpu + 1]];
    for (let slot = from; slot < to; slot++) {
      for (let kept = from; kept < to; kept++) {
        if (taken[kept] || current.slotExpert[kept] !== slotExpert[slot]) continue;
        taken[kept] = 1;
        target[slot] = kept;
        break;
      }
    }
    let hole = from;
    for (let slot = from; slot < to; slot++) {
      if (target[slot] >= 0) continue;
      while (taken[hole]) hole++;
      taken[hole] = 1;
      target[slot] = hole;
    }
  }
  const aligned = {
    ...next,
    slotExpert: new Int32Array(slotExpert.length),
    slotBits: new Float64Array(slotExpert.length),
    instance: next.instance.map((slot) => target[slot]),
  };
  target.forEach((slot, before) => {
    aligned.slotExpert[slot] = slotExpert[before];
    aligned.slotBits[slot] = next.slotBits[before];
  });
  return aligned;
}
