import type { Fabric } from './fabric.js';

/** Entries at a port up to which comparing all pairs is faster than sorting. */
const FEW = 16;

/**
 * The fast network: a transfer is an amount of bytes at each port it uses, and it ends when its slowest
 * port is done. Alone, it takes max over its ports of (bytes / capacity + latency). Transfers that run at
 * the same time share each port in proportion to the flows that each has there (processor sharing), so
 * that no port ever carries more than its capacity.
 *
 * The end of a job at a shared port needs no simulation: with remaining bytes r and weights w, job j is
 * done after Σᵢ min(rᵢ, rⱼ·wᵢ/wⱼ) / capacity.
 */
export class PortFabric implements Fabric {
  private readonly secondsPerByte: Float64Array;

  private readonly firstEntry: number[] = [];
  private readonly room: number[] = [];
  private readonly entryCount: number[] = [];
  private entries = 0;
  private port = new Int32Array(0);
  private bytes = new Float64Array(0);
  private flows = new Float64Array(0);
  private latency = new Float64Array(0);
  private remaining = new Float64Array(0);
  private nextAtPort = new Int32Array(0);
  /** Transfer of every entry. */
  private owner = new Int32Array(0);
  private order = new Int32Array(0);

  private readonly headAtPort: Int32Array;
  private active = new Int32Array(8);
  private activeCount = 0;
  private end = new Float64Array(8);
  /** Seconds that each transfer takes alone. */
  private alone = new Float64Array(8);
  /** 1 where `remaining` is kept: not before a transfer has to share. */
  private tracked = new Uint8Array(8);
  private clock = 0;
  private stale = false;

  /** @param capacities bytes per second of every port */
  constructor(readonly capacities: Float64Array) {
    this.secondsPerByte = capacities.map((capacity) => 1 / capacity);
    this.headAtPort = new Int32Array(capacities.length);
  }

  get transfers(): number {
    return this.firstEntry.length;
  }

  /** Declares a transfer that uses at most `ports` ports; returns its number. */
  declare(ports: number): number {
    const transfer = this.firstEntry.length;
    this.firstEntry.push(this.entries);
    this.room.push(ports);
    this.entryCount.push(0);
    this.entries += ports;
    if (this.entries > this.port.length) this.growEntries(Math.max(this.entries, 2 * this.port.length));
    this.owner.fill(transfer, this.entries - ports, this.entries);
    if (transfer >= this.end.length) {
      this.end = grownFloats(this.end, 2 * transfer);
      this.alone = grownFloats(this.alone, 2 * transfer);
      this.tracked = new Uint8Array(2 * transfer);
      this.active = grownInts(this.active, 2 * transfer);
    }
    return transfer;
  }

  private growEntries(size: number): void {
    this.port = grownInts(this.port, size);
    this.bytes = grownFloats(this.bytes, size);
    this.flows = grownFloats(this.flows, size);
    this.latency = grownFloats(this.latency, size);
    this.remaining = grownFloats(this.remaining, size);
    this.nextAtPort = grownInts(this.nextAtPort, size);
    this.owner = grownInts(this.owner, size);
  }

  /** Forgets what a transfer that is not running carries. */
  clear(transfer: number): void {
    this.entryCount[transfer] = 0;
    this.alone[transfer] = 0;
  }

  /**
   * Adds work at one port; each port at most once per transfer.
   * @param bytes bytes through the port
   * @param flows number of flows that carry them: the transfer's weight where it shares the port
   * @param latency seconds added after the last byte
   */
  add(transfer: number, port: number, bytes: number, flows: number, latency: number): void {
    const at = this.entryCount[transfer]++;
    if (at >= this.room[transfer]) throw new Error(`transfer ${transfer} has no room for another port`);
    const entry = this.firstEntry[transfer] + at;
    this.port[entry] = port;
    this.bytes[entry] = bytes;
    this.flows[entry] = flows;
    this.latency[entry] = latency;
    const seconds = bytes * this.secondsPerByte[port] + latency;
    if (seconds > this.alone[transfer]) this.alone[transfer] = seconds;
  }

  /**
   * Writes all work of a transfer at once; entries without units are left out.
   * @param ports port of every entry
   * @param units units by entry, of `bytesPerUnit` bytes
   * @param flows flows by entry; null: one each
   * @param latencies seconds by port
   */
  set(
    transfer: number,
    ports: Int32Array,
    units: Float64Array,
    bytesPerUnit: number,
    flows: Int32Array | null,
    latencies: Float64Array,
  ): void {
    const first = this.firstEntry[transfer];
    if (ports.length > this.room[transfer])
      throw new Error(`transfer ${transfer} has no room for so many ports`);
    const { port, bytes, latency, secondsPerByte } = this;
    let entry = first;
    let longest = 0;
    for (let i = 0; i < ports.length; i++) {
      const amount = units[i];
      if (amount === 0) continue;
      const at = ports[i];
      const carried = amount * bytesPerUnit;
      port[entry] = at;
      bytes[entry] = carried;
      this.flows[entry] = flows === null ? 1 : flows[i];
      latency[entry] = latencies[at];
      const seconds = carried * secondsPerByte[at] + latencies[at];
      if (seconds > longest) longest = seconds;
      entry++;
    }
    this.entryCount[transfer] = entry - first;
    this.alone[transfer] = longest;
  }

  begin(transfer: number, now: number): void {
    if (this.activeCount > 0) {
      this.track();
      this.advance(now);
    }
    this.clock = now;
    this.tracked[transfer] = 0;
    this.active[this.activeCount++] = transfer;
    this.stale = true;
  }

  nextCompletion(): number {
    if (this.stale) this.predict();
    let soonest = Infinity;
    for (let i = 0; i < this.activeCount; i++) {
      const end = this.end[this.active[i]];
      if (end < soonest) soonest = end;
    }
    return soonest;
  }

  complete(now: number, finished: Int32Array): number {
    const { active, end } = this;
    if (this.activeCount > 1) {
      this.advance(now);
      this.clock = now;
    }
    let kept = 0;
    let count = 0;
    for (let i = 0; i < this.activeCount; i++) {
      const transfer = active[i];
      if (end[transfer] > now) {
        active[kept++] = transfer;
        continue;
      }
      let at = count++;
      while (at > 0 && finished[at - 1] > transfer) {
        finished[at] = finished[at - 1];
        at--;
      }
      finished[at] = transfer;
    }
    this.activeCount = kept;
    return count;
  }

  addBytes(transfer: number, byLink: Float64Array): void {
    const first = this.firstEntry[transfer];
    const last = first + this.entryCount[transfer];
    for (let entry = first; entry < last; entry++) byLink[this.port[entry]] += this.bytes[entry];
  }

  reset(): void {
    this.activeCount = 0;
    this.stale = false;
  }

  private predict(): void {
    this.stale = false;
    const first = this.active[0];
    if (this.activeCount === 1 && !this.tracked[first]) this.end[first] = this.clock + this.alone[first];
    else {
      this.track();
      this.predictShared();
    }
  }

  /** Takes down what every active transfer has left, where that is not done yet: all of it. */
  private track(): void {
    for (let i = 0; i < this.activeCount; i++) {
      const transfer = this.active[i];
      if (this.tracked[transfer]) continue;
      this.tracked[transfer] = 1;
      const first = this.firstEntry[transfer];
      const last = first + this.entryCount[transfer];
      for (let entry = first; entry < last; entry++) this.remaining[entry] = this.bytes[entry];
    }
  }

  private predictShared(): void {
    this.listByPort();
    const { active, activeCount, end, clock, headAtPort, nextAtPort } = this;
    for (let i = 0; i < activeCount; i++) end[active[i]] = clock;
    for (let port = 0; port < headAtPort.length; port++) {
      let count = 0;
      for (let entry = headAtPort[port]; entry >= 0; entry = nextAtPort[entry]) count++;
      if (count > FEW) this.predictSorted(port, count);
      else if (count > 0) this.predictFew(port);
    }
  }

  /** When the entries at a port are done, each held against each. */
  private predictFew(port: number): void {
    const { remaining, flows, headAtPort, nextAtPort } = this;
    for (let entry = headAtPort[port]; entry >= 0; entry = nextAtPort[entry]) {
      const perFlow = remaining[entry] / flows[entry];
      let queued = 0;
      for (let other = headAtPort[port]; other >= 0; other = nextAtPort[other]) {
        queued += Math.min(remaining[other], perFlow * flows[other]);
      }
      this.endNotBefore(entry, port, queued);
    }
  }

  /** The same for many, in the order in which they will be done. */
  private predictSorted(port: number, count: number): void {
    const { remaining, flows, headAtPort, nextAtPort } = this;
    if (this.order.length < count) this.order = new Int32Array(2 * count);
    const order = this.order.subarray(0, count);
    let open = 0;
    for (let entry = headAtPort[port], i = 0; entry >= 0; entry = nextAtPort[entry], i++) {
      order[i] = entry;
      open += flows[entry];
    }
    order.sort(this.byRemainingPerFlow);
    let done = 0;
    for (const entry of order) {
      this.endNotBefore(entry, port, done + (remaining[entry] / flows[entry]) * open);
      done += remaining[entry];
      open -= flows[entry];
    }
  }

  private readonly byRemainingPerFlow = (a: number, b: number): number =>
    this.remaining[a] / this.flows[a] - this.remaining[b] / this.flows[b] || a - b;

  /** @param queued bytes that its port carries until an entry is done */
  private endNotBefore(entry: number, port: number, queued: number): void {
    const transfer = this.owner[entry];
    const end = this.clock + (queued * this.secondsPerByte[port] + this.latency[entry]);
    if (end > this.end[transfer]) this.end[transfer] = end;
  }

  /** Serves every port from `clock` to `now`. */
  private advance(now: number): void {
    const elapsed = now - this.clock;
    if (elapsed <= 0) return;
    this.listByPort();
    const { remaining, flows, headAtPort, nextAtPort } = this;
    for (let port = 0; port < headAtPort.length; port++) {
      let budget = elapsed * this.capacities[port];
      for (;;) {
        let weight = 0;
        let smallest = Infinity;
        for (let entry = headAtPort[port]; entry >= 0; entry = nextAtPort[entry]) {
          if (remaining[entry] <= 0) continue;
          weight += flows[entry];
          smallest = Math.min(smallest, remaining[entry] / flows[entry]);
        }
        if (weight === 0) break;
        const served = Math.min(smallest, budget / weight);
        for (let entry = headAtPort[port]; entry >= 0; entry = nextAtPort[entry]) {
          if (remaining[entry] <= 0) continue;
          const left = remaining[entry] - served * flows[entry];
          remaining[entry] = left > 1e-9 * this.bytes[entry] ? left : 0;
        }
        // Not until the budget is nought: rounding may leave a rest that no division makes smaller
        if (served < smallest) break;
        budget = Math.max(0, budget - served * weight);
      }
    }
  }

  private listByPort(): void {
    const { port, headAtPort, nextAtPort } = this;
    headAtPort.fill(-1);
    for (let i = 0; i < this.activeCount; i++) {
      const transfer = this.active[i];
      const first = this.firstEntry[transfer];
      const last = first + this.entryCount[transfer];
      for (let entry = first; entry < last; entry++) {
        nextAtPort[entry] = headAtPort[port[entry]];
        headAtPort[port[entry]] = entry;
      }
    }
  }
}

function grownInts(array: Int32Array, size: number): Int32Array<ArrayBuffer> {
  const grown = new Int32Array(size);
  grown.set(array);
  return grown;
}

function grownFloats(array: Float64Array, size: number): Float64Array<ArrayBuffer> {
  const grown = new Float64Array(size);
  grown.set(array);
  return grown;
}
