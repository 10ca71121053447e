/** Where an expert stands with a cache. */
const ABSENT = 0;
const LOADING = 1;
const PRESENT = 2;

const NO_SLOT = -1;

/** Slots of one GPU for experts of one precision, by key (layer · experts + expert). */
export class ExpertCache {
  private readonly state: Uint8Array;
  private readonly slotOf: Int32Array;
  /** Key of every slot that is taken. */
  private readonly keys: Int32Array;
  private taken = 0;

  /** @param keys experts of all layers */
  constructor(
    readonly slots: number,
    keys: number,
  ) {
    this.state = new Uint8Array(keys);
    this.slotOf = new Int32Array(keys).fill(NO_SLOT);
    this.keys = new Int32Array(slots);
  }

  has(key: number): boolean {
    return this.state[key] === PRESENT;
  }

  isLoading(key: number): boolean {
    return this.state[key] === LOADING;
  }

  isAbsent(key: number): boolean {
    return this.state[key] === ABSENT;
  }

  get isFull(): boolean {
    return this.taken === this.slots;
  }

  /** The key that is worth least to `worth` among those that are present; −1 where none may leave (worth Infinity). */
  leastWorth(worth: (key: number) => number, isOlder: (key: number, other: number) => boolean): number {
    let least = Infinity;
    let found = NO_SLOT;
    for (let slot = 0; slot < this.taken; slot++) {
      const key = this.keys[slot];
      if (this.state[key] !== PRESENT) continue;
      const own = worth(key);
      if (own < least || (own === least && own < Infinity && isOlder(key, found))) {
        least = own;
        found = key;
      }
    }
    return found;
  }

  evict(key: number): void {
    const slot = this.slotOf[key];
    const moved = this.keys[--this.taken];
    this.keys[slot] = moved;
    this.slotOf[moved] = slot;
    this.slotOf[key] = NO_SLOT;
    this.state[key] = ABSENT;
  }

  /** Takes a free slot for an expert that is on its way. */
  reserve(key: number): void {
    if (this.isFull) throw new Error('no free slot to load an expert into');
    this.slotOf[key] = this.taken;
    this.keys[this.taken++] = key;
    this.state[key] = LOADING;
  }

  arrive(key: number): void {
    this.state[key] = PRESENT;
  }
}
