/** 2^44: a sequence number below this leaves room for 512 priorities in the 53 bits of a float64. */
const PRIORITY_STEP = 2 ** 44;

/**
 * Future events in the total order (time, priority, sequence): earliest first, then the lowest priority
 * number, then the one pushed first. A binary heap over parallel typed arrays.
 *
 * `pop` leaves a hole at the root that the next `push` fills by sifting down, because a simulator nearly
 * always pushes after it popped; a second `pop` in a row closes the hole first.
 */
export class EventQueue {
  private times: Float64Array;
  private keys: Float64Array;
  private payloads: Int32Array;
  private count = 0;
  private hole = false;
  private sequence = 0;

  /** Time of the event popped last, in seconds. */
  time = 0;
  /** Payload of the event popped last. */
  payload = 0;

  constructor(capacity = 64) {
    this.times = new Float64Array(capacity);
    this.keys = new Float64Array(capacity);
    this.payloads = new Int32Array(capacity);
  }

  /** Number of events waiting. */
  get size(): number {
    return this.hole ? this.count - 1 : this.count;
  }

  clear(): void {
    this.count = 0;
    this.hole = false;
    this.sequence = 0;
  }

  /**
   * @param time seconds
   * @param priority integer in [0, 511]; lower goes first among equal times
   * @param payload any int32, returned by `pop`
   */
  push(time: number, priority: number, payload: number): void {
    const key = priority * PRIORITY_STEP + this.sequence++;
    if (this.hole) {
      this.hole = false;
      this.siftDown(time, key, payload);
      return;
    }
    if (this.count === this.times.length) this.grow();
    const { times, keys, payloads } = this;
    let at = this.count++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const parentTime = times[parent];
      if (parentTime < time || (parentTime === time && keys[parent] < key)) break;
      times[at] = parentTime;
      keys[at] = keys[parent];
      payloads[at] = payloads[parent];
      at = parent;
    }
    times[at] = time;
    keys[at] = key;
    payloads[at] = payload;
  }

  /** Takes the first event into `time` and `payload`; false when none is left. */
  pop(): boolean {
    if (this.hole) this.closeHole();
    if (this.count === 0) return false;
    this.time = this.times[0];
    this.payload = this.payloads[0];
    this.hole = true;
    return true;
  }

  /** Time of the first event, or Infinity when the queue is empty. */
  nextTime(): number {
    const { times, count } = this;
    if (!this.hole) return count > 0 ? times[0] : Infinity;
    if (count <= 1) return Infinity;
    return count === 2 || times[1] < times[2] ? times[1] : times[2];
  }

  private closeHole(): void {
    this.hole = false;
    const last = --this.count;
    if (last > 0) this.siftDown(this.times[last], this.keys[last], this.payloads[last]);
  }

  private siftDown(time: number, key: number, payload: number): void {
    const { times, keys, payloads, count } = this;
    const parents = count >> 1;
    let at = 0;
    while (at < parents) {
      let child = (at << 1) + 1;
      let childTime = times[child];
      const right = child + 1;
      if (right < count) {
        const rightTime = times[right];
        if (rightTime < childTime || (rightTime === childTime && keys[right] < keys[child])) {
          child = right;
          childTime = rightTime;
        }
      }
      if (time < childTime || (time === childTime && key < keys[child])) break;
      times[at] = childTime;
      keys[at] = keys[child];
      payloads[at] = payloads[child];
      at = child;
    }
    times[at] = time;
    keys[at] = key;
    payloads[at] = payload;
  }

  private grow(): void {
    const capacity = this.times.length * 2;
    const times = new Float64Array(capacity);
    const keys = new Float64Array(capacity);
    const payloads = new Int32Array(capacity);
    times.set(this.times);
    keys.set(this.keys);
    payloads.set(this.payloads);
    this.times = times;
    this.keys = keys;
    this.payloads = payloads;
  }
}
