/** Bytes of a number as a column of this type stores it, as one 32-bit word. */
export type WordOf = (value: number) => number;

const float = new Float32Array(1);
const floatBits = new Int32Array(float.buffer);

/** The word of a 32-bit float. */
export const floatWord: WordOf = (value) => {
  float[0] = value;
  return floatBits[0];
};

/** The word of a whole number or of a truth value. */
export const intWord: WordOf = (value) => value | 0;

/**
 * MurmurHash3 (x86, 32 bit) over words as they come: finds damage, guards against nothing else. Compressed
 * columns decode to other numbers when bytes of theirs are damaged, mostly without an error.
 */
export class Checksum {
  private hash = 0;
  private words = 0;

  add(values: ArrayLike<number>, wordOf: WordOf): this {
    let { hash } = this;
    for (let i = 0; i < values.length; i++) {
      let word = Math.imul(wordOf(values[i]), 0xcc9e2d51);
      word = Math.imul((word << 15) | (word >>> 17), 0x1b873593);
      hash ^= word;
      hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
    }
    this.hash = hash;
    this.words += values.length;
    return this;
  }

  /** The sum of what was added so far: 8 hexadecimal digits. */
  digest(): string {
    let hash = this.hash ^ (4 * this.words);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return ((hash ^ (hash >>> 16)) >>> 0).toString(16).padStart(8, '0');
  }
}

/** Checksum of a text, by its UTF-16 units. */
export function checksumOfText(text: string): string {
  return new Checksum()
    .add(
      Array.from({ length: text.length }, (_, i) => text.charCodeAt(i)),
      intWord,
    )
    .digest();
}
