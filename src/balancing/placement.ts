/** Which expert every slot holds, and at which precision. Slots are numbered GPU by GPU. */
export interface Placement {
  gpus: number;
  experts: number;
  /** First slot of every GPU, and the end: gpus + 1 numbers. */
  firstSlot: Int32Array;
  /** Expert in every slot. */
  slotExpert: Int32Array;
  /** Bits per weight in every slot. */
  slotBits: Float64Array;
  /** True where slots differ in their bits. */
  mixed: boolean;
  /** GPU to which the copies of each expert go unless a dispatch rule says otherwise. */
  home: Int32Array;
}

/**
 * @param slots experts by GPU
 * @param bits bits per weight, by GPU and slot; one number for all
 * @param home GPU by expert; default: the first GPU that holds it
 * @throws RangeError where an expert is missing or out of range
 */
export function placementOf(
  slots: readonly (readonly number[])[],
  experts: number,
  bits: number | readonly (readonly number[])[],
  home = firstHolders(slots, experts),
): Placement {
  const firstSlot = new Int32Array(slots.length + 1);
  slots.forEach((own, gpu) => (firstSlot[gpu + 1] = firstSlot[gpu] + own.length));
  const slotExpert = Int32Array.from(slots.flat());
  const slotBits =
    typeof bits === 'number'
      ? new Float64Array(slotExpert.length).fill(bits)
      : Float64Array.from(bits.flat());
  const mixed = slotBits.some((slot) => slot !== slotBits[0]);
  return { gpus: slots.length, experts, firstSlot, slotExpert, slotBits, mixed, home };
}

function firstHolders(slots: readonly (readonly number[])[], experts: number): Int32Array {
  const home = new Int32Array(experts).fill(-1);
  slots.forEach((own, gpu) =>
    own.forEach((expert) => {
      if (!(Number.isInteger(expert) && expert >= 0 && expert < experts)) {
        throw new RangeError(`placement: found expert ${expert} on GPU ${gpu}, allowed: 0 to ${experts - 1}`);
      }
      if (home[expert] < 0) home[expert] = gpu;
    }),
  );
  const missing = home.indexOf(-1);
  if (missing >= 0) throw new RangeError(`placement: expert ${missing} is on no GPU`);
  return home;
}

/** Experts by GPU. */
export function slotsByGpu({ gpus, firstSlot, slotExpert }: Placement): number[][] {
  return Array.from({ length: gpus }, (_, gpu) =>
    Array.from(slotExpert.subarray(firstSlot[gpu], firstSlot[gpu + 1])),
  );
}
