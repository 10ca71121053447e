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
  /** The different bits of the slots, most first. */
  widths: Float64Array;
  /** Index of every slot's bits among them. */
  slotWidth: Uint8Array;
  /** True where the bits are those that the model is given in, so that fewer are no loss of the policy's. */
  planned: boolean;
  /** GPU to which the copies of each expert go unless a dispatch rule says otherwise. */
  home: Int32Array;
  /** GPU of every slot. */
  slotGpu: Int32Array;
  /**
   * Slots that hold each expert, in the order in which dispatch rules count its instances: those of expert e are
   * `instance[firstInstance[e]]` up to, and without, `instance[firstInstance[e + 1]]`.
   */
  firstInstance: Int32Array;
  instance: Int32Array;
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
  const gpus = slots.length;
  const slotExpert = new Int32Array(firstSlot[gpus]);
  const slotBits = new Float64Array(firstSlot[gpus]);
  const slotGpu = new Int32Array(firstSlot[gpus]);
  for (let gpu = 0; gpu < gpus; gpu++) {
    slotExpert.set(slots[gpu], firstSlot[gpu]);
    slotGpu.fill(gpu, firstSlot[gpu], firstSlot[gpu + 1]);
    if (typeof bits !== 'number') slotBits.set(bits[gpu], firstSlot[gpu]);
  }
  if (typeof bits === 'number') slotBits.fill(bits);
  const mixed = typeof bits !== 'number' && slotBits.some((slot) => slot !== slotBits[0]);
  const widths = mixed ? Float64Array.from(new Set(slotBits)).sort((a, b) => b - a) : slotBits.slice(0, 1);
  const slotWidth = new Uint8Array(slotBits.length);
  if (mixed) slotBits.forEach((slot, i) => (slotWidth[i] = widths.indexOf(slot)));
  const instances = instancesOf(slotExpert, experts);
  return {
    gpus,
    experts,
    firstSlot,
    slotExpert,
    slotBits,
    mixed,
    widths,
    slotWidth,
    planned: false,
    home,
    slotGpu,
    ...instances,
  };
}

/** Slots by expert, in slot order. */
function instancesOf(slotExpert: Int32Array, experts: number): Pick<Placement, 'firstInstance' | 'instance'> {
  const firstInstance = new Int32Array(experts + 1);
  for (let slot = 0; slot < slotExpert.length; slot++) firstInstance[slotExpert[slot] + 1]++;
  for (let e = 0; e < experts; e++) firstInstance[e + 1] += firstInstance[e];
  const next = firstInstance.slice();
  const instance = new Int32Array(slotExpert.length);
  for (let slot = 0; slot < slotExpert.length; slot++) instance[next[slotExpert[slot]]++] = slot;
  return { firstInstance, instance };
}

/**
 * A placement of slots in one row, as other programs write it down.
 * @param slotExpert expert of every slot, slots in GPU order
 * @param firstSlot first slot of every GPU, and the end; default: equally many on every GPU, which must divide
 * @throws RangeError where an expert is missing or out of range
 */
export function placementOfSlots(
  slotExpert: ArrayLike<number>,
  gpus: number,
  experts: number,
  bits: number,
  firstSlot = evenSlots(slotExpert.length, gpus),
): Placement {
  const slots = Array.from({ length: gpus }, (_, gpu) =>
    Array.from({ length: firstSlot[gpu + 1] - firstSlot[gpu] }, (__, i) => slotExpert[firstSlot[gpu] + i]),
  );
  return placementOf(slots, experts, bits);
}

/** First slot of every GPU, and the end, where GPU g starts at slot ⌊g · slots / gpus⌋. */
export function evenSlots(slots: number, gpus: number): Int32Array {
  return Int32Array.from({ length: gpus + 1 }, (_, gpu) => Math.floor((gpu * slots) / gpus));
}

/** Instances of an expert. */
export function instancesOn({ firstInstance }: Placement, expert: number): number {
  return firstInstance[expert + 1] - firstInstance[expert];
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
