/**
 * The network as the executor sees it: numbered transfers that begin, share links while they run, and
 * finish. What a transfer carries is written by its owner beforehand, in the form of each fabric.
 */
export interface Fabric {
  /** Number of transfers that have been declared. */
  readonly transfers: number;
  /** Bytes per second of every link. */
  readonly capacities: Float64Array;
  /** Starts a transfer at `now` (seconds). Transfers that begin at one instant share links from then on. */
  begin(transfer: number, now: number): void;
  /** Seconds of the next completion (≥ the last `begin`), or Infinity when nothing runs. */
  nextCompletion(): number;
  /**
   * Completes everything that ends at `now`, which must be the last `nextCompletion()`; writes the
   * transfers to `finished` in ascending order and returns how many there are. It may be 0 where only part
   * of a transfer ended.
   */
  complete(now: number, finished: Int32Array): number;
  /** Adds the bytes that a transfer puts on every link, as written last. @param byLink sums, by link */
  addBytes(transfer: number, byLink: Float64Array): void;
  /** Drops all running transfers; what was declared stays. */
  reset(): void;
}
