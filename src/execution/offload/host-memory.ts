/** Experts in the memory of a node, in the order of their last use; what does not fit lies on its SSD. */
export class HostMemory {
  private readonly held = new Map<number, number>();
  private bytes = 0;

  /** @param limit bytes; Infinity: everything is in memory */
  constructor(private readonly limit: number) {}

  /**
   * Takes an expert in, where it is not there, in place of those used longest ago.
   * @param key of an expert in one precision
   * @returns whether it was there
   */
  use(key: number, bytes: number): boolean {
    if (this.limit === Infinity) return true;
    if (this.held.delete(key)) {
      this.held.set(key, bytes);
      return true;
    }
    if (bytes > this.limit) return false;
    this.held.set(key, bytes);
    this.bytes += bytes;
    for (const [oldest, freed] of this.held) {
      if (this.bytes <= this.limit) break;
      this.held.delete(oldest);
      this.bytes -= freed;
    }
    return false;
  }
}
