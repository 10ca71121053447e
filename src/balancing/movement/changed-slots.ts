import type { Placement } from '../placement.js';
import type { PlacementMove } from '../plan.js';

/**
 * The weights that a new placement needs: those of every slot whose expert changes. They come from host memory, or
 * from a GPU that holds the expert: the same one (a copy inside its memory), else one of the node, else any; among
 * these the one that sends least so far, the lowest number among equals.
 * @returns null where nothing changes
 */
export function changedSlots(
  current: Placement,
  next: Placement,
  from: 'gpus' | 'host',
  gpusPerNode: number,
): PlacementMove | null {
  const { gpus, slotExpert, slotGpu, slotBits } = next;
  const sent = new Float64Array(gpus);
  const move: PlacementMove = { loads: [], conversions: [] };
  const nodeOf = (gpu: number) => Math.floor(gpu / gpusPerNode);
  for (let slot = 0; slot < slotExpert.length; slot++) {
    const expert = slotExpert[slot];
    const gpu = slotGpu[slot];
    if (isUnchanged(current, next, slot)) continue;
    let source = -1;
    if (from === 'gpus') {
      let nearest = 3;
      for (let i = current.firstInstance[expert]; i < current.firstInstance[expert + 1]; i++) {
        const holder = current.slotGpu[current.instance[i]];
        const distance = holder === gpu ? 0 : nodeOf(holder) === nodeOf(gpu) ? 1 : 2;
        if (distance > nearest || (distance === nearest && sent[holder] >= sent[source])) continue;
        nearest = distance;
        source = holder;
      }
      if (source !== gpu) sent[source]++;
    }
    move.loads.push({ expert, source, destination: gpu, bits: slotBits[slot] });
  }
  return move.loads.length === 0 ? null : move;
}

function isUnchanged(current: Placement, next: Placement, slot: number): boolean {
  return current.slotGpu[slot] === next.slotGpu[slot] && current.slotExpert[slot] === next.slotExpert[slot];
}
