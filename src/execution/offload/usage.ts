import type { EvictionWeights } from './options.js';

/** Use of every expert of a GPU in the sequences of now, by key (layer · experts + expert). */
export class Usage {
  /** Number of the token (of its sequence, from 1 on) that is being computed. */
  private token = 0;
  /** Token of the last use; 0: not in this sequence. */
  private readonly lastToken: Int32Array;
  private readonly uses: Int32Array;
  private readonly highUses: Int32Array;
  /** Number of the last use among all uses, by which uses of one token are told apart. */
  private readonly lastUse: Float64Array;
  private clock = 0;
  private readonly layerOf: Int32Array;

  constructor(
    private readonly layers: number,
    experts: number,
  ) {
    const keys = layers * experts;
    this.layerOf = Int32Array.from({ length: keys }, (_, key) => Math.floor(key / experts));
    this.lastToken = new Int32Array(keys);
    this.uses = new Int32Array(keys);
    this.highUses = new Int32Array(keys);
    this.lastUse = new Float64Array(keys);
  }

  /** @param opens whether the sequences are new ones */
  startToken(opens: boolean): void {
    this.token++;
    if (!opens) return;
    this.token = 1;
    this.lastToken.fill(0);
    this.uses.fill(0);
    this.highUses.fill(0);
  }

  /** @param high whether it was wanted in high precision */
  note(key: number, high: boolean): void {
    this.lastToken[key] = this.token;
    this.uses[key]++;
    if (high) this.highUses[key]++;
    this.lastUse[key] = ++this.clock;
  }

  /** What an expert is worth to a cache while a layer is computed (HOBBIT, §3.4): 0 to 1 per unit of weight. */
  worth(key: number, layer: number, { lru, lfu, lhu, fld }: EvictionWeights): number {
    const { token, layers } = this;
    const distance = this.layerOf[key] - layer;
    const ahead = distance < 0 ? distance + layers : distance;
    return (
      (lru * this.lastToken[key] + lfu * this.uses[key] + lhu * this.highUses[key]) / token +
      fld * (1 - ahead / layers)
    );
  }

  /** Whether one key was used before another; by number where neither was. */
  isOlder(key: number, other: number): boolean {
    return this.lastUse[key] !== this.lastUse[other] ? this.lastUse[key] < this.lastUse[other] : key < other;
  }
}
