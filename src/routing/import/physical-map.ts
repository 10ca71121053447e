import { TraceError } from '../trace/trace.js';

/** Which expert every physical slot holds, [layer][slot]. */
export type PhysicalMap = readonly (readonly number[])[];

/** Number of logical experts of a map: every expert has at least one slot. @throws TraceError */
export function expertsOf(place: string, map: PhysicalMap): number {
  let experts = 0;
  for (const slots of map) for (const expert of slots) experts = Math.max(experts, expert + 1);
  map.forEach((slots, layer) => {
    const held = new Set(slots);
    for (let expert = 0; expert < experts; expert++) {
      if (held.has(expert)) continue;
      throw new TraceError(
        `${place}, layer ${layer}`,
        `no slot of expert ${expert}`,
        'a slot of every expert',
      );
    }
  });
  return experts;
}

/** Adds copies by physical slot to copies by logical expert. */
export function addLogical(
  slots: readonly number[],
  physical: ArrayLike<number>,
  from: number,
  into: Int32Array,
  at = 0,
): void {
  for (let slot = 0; slot < slots.length; slot++) into[at + slots[slot]] += physical[from + slot];
}

export function sameMap(a: PhysicalMap, b: PhysicalMap): boolean {
  return (
    a.length === b.length &&
    a.every((slots, layer) => slots.length === b[layer].length && slots.every((e, i) => e === b[layer][i]))
  );
}

/** Rows of a matrix [layers][slots]. */
export function mapOf(data: ArrayLike<number>, layers: number, slots: number): number[][] {
  return Array.from({ length: layers }, (_, l) =>
    Array.from({ length: slots }, (_, s) => data[l * slots + s]),
  );
}
