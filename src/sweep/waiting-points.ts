/** Keys that are remembered; those that came longest ago are forgotten, and cost a second draw at most. */
const MOST_KEYS = 4096;

/**
 * What waits for a thread. Points of one key share what a thread has drawn for the first of them, so that they go to the
 * threads that had the key before, in their order; other threads take of them only where nothing else is to be had.
 */
export class WaitingPoints<Point> {
  private readonly points: { point: Point; key: string }[] = [];
  /** Threads that had a point of a key. */
  private readonly threads = new Map<string, Set<number>>();

  /** @param most points that are looked over for a thread */
  constructor(private readonly most: number) {}

  get size(): number {
    return this.points.length;
  }

  /** Whether as many wait as are looked over. */
  get full(): boolean {
    return this.points.length >= this.most;
  }

  add(point: Point, key: string): void {
    this.points.push({ point, key });
  }

  /**
   * Takes the first point that fits a thread.
   * @param more whether points may come that would fit it better than those of other threads
   * @returns null where nothing waits, or nothing that this thread should take yet
   */
  takeFor(thread: number, more: boolean): Point | null {
    const { points, threads } = this;
    let at = points.findIndex(({ key }) => threads.get(key)?.has(thread) ?? true);
    if (at < 0) {
      if (points.length === 0 || (more && !this.full)) return null;
      at = 0;
    }
    const [{ point, key }] = points.splice(at, 1);
    this.remember(key, thread);
    return point;
  }

  /** All that wait, which wait no longer. */
  clear(): Point[] {
    return this.points.splice(0).map(({ point }) => point);
  }

  private remember(key: string, thread: number): void {
    const { threads } = this;
    const known = threads.get(key);
    if (known) {
      known.add(thread);
      return;
    }
    threads.set(key, new Set([thread]));
    if (threads.size <= MOST_KEYS) return;
    const [oldest] = threads.keys();
    threads.delete(oldest);
  }
}
