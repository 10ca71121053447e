/** Spreads the bits of a word over all of it (finaliser of MurmurHash3, public domain). */
function mixed(word: number): number {
  let h = word >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * Random elements of a buffer as a function of their index, so that host and device make them apart and need
 * not exchange gigabytes: uniform in [−scale, scale), of as many random bits as the format holds exactly.
 */
export function randomElement(type: 'fp32' | 'fp16', seed: number, scale: number): (index: number) => number {
  const offset = mixed(seed + 1);
  const [dropped, step] = type === 'fp16' ? [21, 2 ** -10] : [8, 2 ** -23];
  return (index) => ((mixed(Math.imul(index, 0x9e3779b9) + offset) >>> dropped) * step - 1) * scale;
}
