/** What one pool (a GPU's memory) held at its fullest moment so far. */
export interface MemoryPeak {
  /** Bytes in use. */
  bytes: number;
  /** Bytes by category, in the order of the ledger's categories. */
  byCategory: number[];
  /** Simulated seconds at which the peak was reached. */
  time: number;
  /** The tag that was set when the peak was reached; its meaning belongs to the caller. */
  tag: number;
}

/** The first allocation that found no room. */
export interface MemoryOverflow {
  pool: number;
  category: number;
  /** Bytes in use after the allocation. */
  needed: number;
  /** Bytes that the pool may hold. */
  limit: number;
  time: number;
  tag: number;
}

/**
 * Bytes in use per pool and category, with every pool's peak. Amounts are whole bytes, so that sums are
 * exact. An allocation beyond a pool's limit is recorded, not refused: the caller reports it.
 */
export class MemoryLedger {
  /** Caller's label for what is being simulated; copied into peaks and overflows. */
  tag = 0;
  /** The first allocation beyond a limit, if any. */
  overflow: MemoryOverflow | null = null;

  private readonly poolOf: Int32Array;
  private readonly used: Float64Array;
  private readonly total: Float64Array;
  private readonly peakBytes: Float64Array;
  private readonly peakUsed: Float64Array;
  private readonly peakTime: Float64Array;
  private readonly peakTag: Int32Array;

  /**
   * @param pools number of pools
   * @param categories number of categories per pool; an account is pool · categories + category
   * @param limits bytes each pool may hold (Infinity: no limit)
   */
  constructor(
    readonly pools: number,
    readonly categories: number,
    private readonly limits: Float64Array,
  ) {
    this.poolOf = Int32Array.from({ length: pools * categories }, (_, account) =>
      Math.floor(account / categories),
    );
    this.used = new Float64Array(pools * categories);
    this.total = new Float64Array(pools);
    this.peakBytes = new Float64Array(pools);
    this.peakUsed = new Float64Array(pools * categories);
    this.peakTime = new Float64Array(pools);
    this.peakTag = new Int32Array(pools);
  }

  allocate(account: number, bytes: number, time: number): void {
    const pool = this.poolOf[account];
    this.used[account] += bytes;
    const total = (this.total[pool] += bytes);
    if (total > this.peakBytes[pool]) this.recordPeak(pool, account, total, time);
  }

  /** Allocates buffers list[from … to), of which `accounts` and `bytes` say where and how much. */
  allocateAll(
    list: Int32Array,
    from: number,
    to: number,
    accounts: Int32Array,
    bytes: Float64Array,
    time: number,
  ): void {
    const { poolOf, used, total, peakBytes } = this;
    for (let i = from; i < to; i++) {
      const buffer = list[i];
      const account = accounts[buffer];
      const pool = poolOf[account];
      used[account] += bytes[buffer];
      const sum = total[pool] + bytes[buffer];
      total[pool] = sum;
      if (sum > peakBytes[pool]) this.recordPeak(pool, account, sum, time);
    }
  }

  /** @throws Error when more is freed than is in use: a fault of the caller, never of the input. */
  free(account: number, bytes: number): void {
    const left = this.used[account] - bytes;
    if (left < 0) throw overfreed(account, left);
    this.used[account] = left;
    this.total[this.poolOf[account]] -= bytes;
  }

  /** Frees buffers list[from … to), as `free` does one. */
  freeAll(list: Int32Array, from: number, to: number, accounts: Int32Array, bytes: Float64Array): void {
    const { poolOf, used, total } = this;
    for (let i = from; i < to; i++) {
      const buffer = list[i];
      const account = accounts[buffer];
      const left = used[account] - bytes[buffer];
      if (left < 0) throw overfreed(account, left);
      used[account] = left;
      total[poolOf[account]] -= bytes[buffer];
    }
  }

  /** Bytes in use in one account. */
  usedBy(account: number): number {
    return this.used[account];
  }

  /** Bytes in use in one pool. */
  totalOf(pool: number): number {
    return this.total[pool];
  }

  peakOf(pool: number): MemoryPeak {
    const first = pool * this.categories;
    return {
      bytes: this.peakBytes[pool],
      byCategory: Array.from(this.peakUsed.subarray(first, first + this.categories)),
      time: this.peakTime[pool],
      tag: this.peakTag[pool],
    };
  }

  /** Forgets peaks and overflow; what is in use stays and is the new peak. */
  resetPeaks(time: number): void {
    this.overflow = null;
    this.peakBytes.fill(-1);
    for (let pool = 0; pool < this.pools; pool++) {
      this.recordPeak(pool, pool * this.categories, this.total[pool], time);
    }
  }

  private recordPeak(pool: number, account: number, total: number, time: number): void {
    const { categories } = this;
    this.peakBytes[pool] = total;
    this.peakTime[pool] = time;
    this.peakTag[pool] = this.tag;
    const first = pool * categories;
    for (let i = first; i < first + categories; i++) this.peakUsed[i] = this.used[i];
    if (total > this.limits[pool] && this.overflow === null) {
      this.overflow = {
        pool,
        category: account - first,
        needed: total,
        limit: this.limits[pool],
        time,
        tag: this.tag,
      };
    }
  }
}

function overfreed(account: number, left: number): Error {
  return new Error(`memory account ${account} would hold ${left} bytes`);
}
