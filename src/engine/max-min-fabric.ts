import { EventQueue } from './event-queue.js';
import type { Fabric } from './fabric.js';

const LINKS_PER_FLOW = 4;
/** Levels this close (relative) count as equal. */
const LEVEL_SLACK = 1e-12;
/** A flow with less than this share of its bytes left is done. */
const DONE_SHARE = 1e-9;

const enum FlowState {
  Idle,
  Waiting,
  Running,
}

/**
 * The exact network: every flow crosses up to four links, and at every moment the running flows have the
 * max-min fair rates (Bertsekas and Gallager, Data Networks, §6.5.2: progressive filling).
 *
 * A flow belongs to the group of its bottleneck link. All flows of a group have one rate, so a group needs
 * one clock of bytes (`served`), and a flow's end is a fixed mark on that clock: a change of rates touches
 * no flow. When flows end, the fabric first assumes that the same links stay bottlenecks in the same order,
 * which gives the rates in one pass over the groups; where that contradicts itself, it fills again from the
 * lowest level that is wrong. `order` lists the groups by rising rate, and `leftBefore` what every link had
 * left before each of them took its share.
 */
export class MaxMinFabric implements Fabric {
  private readonly links: number;

  private readonly firstFlow: number[] = [];
  private readonly room: number[] = [];
  private readonly flowCount: number[] = [];
  private openFlows = new Int32Array(0);

  private flowTransfer = new Int32Array(0);
  private flowLinks = new Int32Array(0);
  private flowSlot = new Int32Array(0);
  private flowBytes = new Float64Array(0);
  private flowLatency = new Float64Array(0);
  private flowState = new Uint8Array(0);
  private flowGroup = new Int32Array(0);
  private flowMark = new Float64Array(0);
  private flowStamp = new Int32Array(0);
  private stamp = 0;

  private readonly flowsOnLink: Int32Array[];
  private readonly runningOnLink: Int32Array;

  private readonly order: Int32Array;
  private groups = 0;
  private readonly position: Int32Array;
  private readonly rate: Float64Array;
  private readonly served: Float64Array;
  private readonly nextMark: Float64Array;
  /** crossing[group · links + link]: flows of the group that cross the link */
  private readonly crossing: Float64Array;
  private readonly leftBefore: Float64Array;
  private readonly left: Float64Array;
  private readonly unfixed: Float64Array;

  private readonly joins = new EventQueue();
  private readonly instant: number[] = [];
  private clock = 0;
  private dueGroup = -1;
  private dueTime = 0;
  private stale = false;

  /** @param capacities bytes per second of every link */
  constructor(readonly capacities: Float64Array) {
    const links = (this.links = capacities.length);
    this.flowsOnLink = Array.from({ length: links }, () => new Int32Array(8));
    this.runningOnLink = new Int32Array(links);
    this.order = new Int32Array(links);
    this.position = new Int32Array(links).fill(-1);
    this.rate = new Float64Array(links);
    this.served = new Float64Array(links);
    this.nextMark = new Float64Array(links);
    this.crossing = new Float64Array(links * links);
    this.leftBefore = new Float64Array((links + 1) * links);
    this.left = new Float64Array(links);
    this.unfixed = new Float64Array(links);
  }

  get transfers(): number {
    return this.firstFlow.length;
  }

  /** Declares a transfer of at most `flows` flows; returns its number. */
  declare(flows: number): number {
    const transfer = this.firstFlow.length;
    const first = this.flowTransfer.length;
    this.firstFlow.push(first);
    this.room.push(flows);
    this.flowCount.push(0);
    this.reserve(transfer + 1, first + flows);
    this.flowTransfer.fill(transfer, first);
    return transfer;
  }

  /** Declares `count` transfers of one flow each; returns the number of the first. */
  declareSingles(count: number): number {
    const firstTransfer = this.firstFlow.length;
    const first = this.flowTransfer.length;
    for (let i = 0; i < count; i++) {
      this.firstFlow.push(first + i);
      this.room.push(1);
      this.flowCount.push(0);
    }
    this.reserve(firstTransfer + count, first + count);
    for (let i = 0; i < count; i++) this.flowTransfer[first + i] = firstTransfer + i;
    return firstTransfer;
  }

  /** Forgets the flows of a transfer that is not running. */
  clear(transfer: number): void {
    this.flowCount[transfer] = 0;
  }

  /**
   * Adds a flow of a transfer.
   * @param bytes bytes to carry; a flow without bytes is done at once
   * @param latency seconds from the transfer's begin until the flow takes bandwidth
   * @param a first link, and up to three more, all different; −1 from the first that is not there
   */
  addFlow(transfer: number, bytes: number, latency: number, a: number, b = -1, c = -1, d = -1): void {
    if (bytes <= 0) return;
    const at = this.flowCount[transfer]++;
    if (at >= this.room[transfer]) throw new Error(`transfer ${transfer} has no room for another flow`);
    const flow = this.firstFlow[transfer] + at;
    this.flowBytes[flow] = bytes;
    this.flowLatency[flow] = latency;
    const first = flow * LINKS_PER_FLOW;
    this.flowLinks[first] = a;
    this.flowLinks[first + 1] = b;
    this.flowLinks[first + 2] = c;
    this.flowLinks[first + 3] = d;
  }

  begin(transfer: number, now: number): void {
    this.advance(now);
    const first = this.firstFlow[transfer];
    const count = this.flowCount[transfer];
    this.openFlows[transfer] = count;
    if (count === 0) this.instant.push(transfer);
    for (let flow = first; flow < first + count; flow++) {
      if (this.flowLatency[flow] > 0) {
        this.flowState[flow] = FlowState.Waiting;
        this.joins.push(now + this.flowLatency[flow], 0, flow);
      } else {
        this.join(flow);
      }
    }
  }

  nextCompletion(): number {
    if (this.instant.length > 0) return this.clock;
    if (this.stale) this.fill(0);
    let soonest = Infinity;
    this.dueGroup = -1;
    for (let at = 0; at < this.groups; at++) {
      const group = this.order[at];
      const seconds = (this.nextMark[group] - this.served[group]) / this.rate[group];
      if (seconds < soonest) {
        soonest = seconds;
        this.dueGroup = group;
      }
    }
    this.dueTime = this.clock + Math.max(soonest, 0);
    return Math.min(this.dueTime, this.joins.nextTime());
  }

  complete(now: number, finished: Int32Array): number {
    let count = 0;
    for (const transfer of this.instant) finished[count++] = transfer;
    this.instant.length = 0;
    this.advance(now);
    if (!this.stale) count = this.removeDone(finished, count, now);
    while (this.joins.nextTime() <= now) {
      this.joins.pop();
      this.join(this.joins.payload);
    }
    return sortPrefix(finished, count);
  }

  addBytes(transfer: number, byLink: Float64Array): void {
    const first = this.firstFlow[transfer];
    const last = first + this.flowCount[transfer];
    for (let flow = first; flow < last; flow++) {
      for (let i = 0; i < LINKS_PER_FLOW; i++) {
        const link = this.flowLinks[flow * LINKS_PER_FLOW + i];
        if (link < 0) break;
        byLink[link] += this.flowBytes[flow];
      }
    }
  }

  reset(): void {
    for (let link = 0; link < this.links; link++) {
      const flows = this.flowsOnLink[link];
      for (let i = 0; i < this.runningOnLink[link]; i++) this.flowState[flows[i]] = FlowState.Idle;
    }
    this.runningOnLink.fill(0);
    this.position.fill(-1);
    this.groups = 0;
    this.served.fill(0);
    this.joins.clear();
    this.instant.length = 0;
    this.stale = false;
  }

  /** Bytes per second that a link carries now; for checks of invariant 3. */
  rateOnLink(link: number): number {
    if (this.stale) this.fill(0);
    let sum = 0;
    for (let at = 0; at < this.groups; at++) {
      const group = this.order[at];
      sum += this.crossing[group * this.links + link] * this.rate[group];
    }
    return sum;
  }

  private advance(now: number): void {
    const elapsed = now - this.clock;
    this.clock = now;
    if (elapsed <= 0 || this.groups === 0) return;
    if (this.stale) this.fill(0);
    for (let at = 0; at < this.groups; at++) {
      const group = this.order[at];
      this.served[group] += this.rate[group] * elapsed;
    }
  }

  private join(flow: number): void {
    this.flowState[flow] = FlowState.Running;
    this.flowGroup[flow] = -1;
    this.flowMark[flow] = this.flowBytes[flow];
    for (let i = flow * LINKS_PER_FLOW; i < (flow + 1) * LINKS_PER_FLOW; i++) {
      const link = this.flowLinks[i];
      if (link < 0) break;
      const at = this.runningOnLink[link]++;
      if (at === this.flowsOnLink[link].length) {
        const grown = new Int32Array(2 * at);
        grown.set(this.flowsOnLink[link]);
        this.flowsOnLink[link] = grown;
      }
      this.flowsOnLink[link][at] = flow;
      this.flowSlot[i] = at;
    }
    this.stale = true;
  }

  private leave(flow: number): void {
    this.flowState[flow] = FlowState.Idle;
    const row = this.flowGroup[flow] * this.links;
    for (let i = flow * LINKS_PER_FLOW; i < (flow + 1) * LINKS_PER_FLOW; i++) {
      const link = this.flowLinks[i];
      if (link < 0) break;
      this.crossing[row + link]--;
      const flows = this.flowsOnLink[link];
      const moved = flows[--this.runningOnLink[link]];
      const at = this.flowSlot[i];
      flows[at] = moved;
      for (let j = moved * LINKS_PER_FLOW; j < (moved + 1) * LINKS_PER_FLOW; j++) {
        if (this.flowLinks[j] === link) this.flowSlot[j] = at;
      }
    }
  }

  /** Ends the flows whose mark is reached, and gives the others their new rates. */
  private removeDone(finished: Int32Array, count: number, now: number): number {
    let lowest = this.groups;
    for (let at = 0; at < this.groups; at++) {
      const group = this.order[at];
      // The flow that this event was predicted for is done whatever the rounding of the clock says.
      const due = group === this.dueGroup && now >= this.dueTime;
      const reached = due ? Math.max(this.served[group], this.nextMark[group]) : this.served[group];
      if (this.nextMark[group] - reached > DONE_SHARE * this.nextMark[group]) continue;
      const flows = this.flowsOnLink[group];
      let ended = false;
      for (let i = this.runningOnLink[group] - 1; i >= 0; i--) {
        const flow = flows[i];
        if (this.flowGroup[flow] !== group) continue;
        if (this.flowMark[flow] - reached > DONE_SHARE * this.flowBytes[flow]) continue;
        this.leave(flow);
        ended = true;
        const transfer = this.flowTransfer[flow];
        if (--this.openFlows[transfer] === 0) finished[count++] = transfer;
      }
      if (!ended) continue;
      this.findNextMark(group);
      if (at < lowest) lowest = at;
    }
    if (lowest < this.groups) this.keepOrder(lowest);
    return count;
  }

  private findNextMark(group: number): void {
    const flows = this.flowsOnLink[group];
    let next = Infinity;
    for (let i = 0; i < this.runningOnLink[group]; i++) {
      const flow = flows[i];
      if (this.flowGroup[flow] === group && this.flowMark[flow] < next) next = this.flowMark[flow];
    }
    this.nextMark[group] = next;
  }

  /** New rates from position `from` on if bottlenecks and their order stay; fills again where they don't. */
  private keepOrder(from: number): void {
    const { links, order, rate, crossing, left, leftBefore, capacities } = this;
    left.set(leftBefore.subarray(from * links, (from + 1) * links));
    let to = from;
    let previous = from > 0 ? rate[order[from - 1]] : 0;
    for (let at = from; at < this.groups; at++) {
      const group = order[at];
      const row = group * links;
      const flows = crossing[row + group];
      if (flows === 0) {
        this.position[group] = -1;
        this.served[group] = 0;
        continue;
      }
      const level = left[group] / flows;
      if (level < previous * (1 - LEVEL_SLACK)) {
        const place = this.placeBelow(group, level, to);
        if (place < 0) {
          for (let rest = at; rest < this.groups; rest++) order[to + rest - at] = order[rest];
          this.groups -= at - to;
          leftBefore.set(left, to * links);
          let lowest = to;
          while (lowest > 0 && rate[order[lowest - 1]] > level) lowest--;
          // The links behind this one have not been looked at: one of them may have to come earlier still.
          for (let link = 0; link < links && lowest > from; link++) {
            lowest = this.firstWrongPosition(link, lowest);
          }
          this.fill(lowest);
          return;
        }
        this.insert(group, level, place, to++);
        continue;
      }
      leftBefore.set(left, to * links);
      order[to] = group;
      this.position[group] = to++;
      rate[group] = previous = level;
      for (let link = 0; link < links; link++) left[link] -= crossing[row + link] * level;
      left[group] = 0;
    }
    this.groups = to;
    leftBefore.set(left, to * links);

    let wrong = to;
    for (let link = 0; link < links; link++) {
      if (left[link] < -LEVEL_SLACK * capacities[link]) {
        wrong = Math.min(wrong, this.firstWrongPosition(link, wrong));
      }
    }
    if (wrong < to) this.fill(wrong);
  }

  /**
   * Where a group whose level fell below that of groups before it belongs by level; −1 where one of those
   * crosses its link, which is then no longer right about its bottleneck.
   */
  private placeBelow(group: number, level: number, to: number): number {
    const { links, order, crossing, rate } = this;
    let place = to;
    while (place > 0 && rate[order[place - 1]] > level) {
      place--;
      if (crossing[order[place] * links + group] > 0) return -1;
    }
    return place;
  }

  /** Puts a group at `place`, before groups that share no link with it that is a bottleneck. */
  private insert(group: number, level: number, place: number, to: number): void {
    const { links, order, crossing, rate, left, leftBefore, position } = this;
    const row = group * links;
    for (let at = to; at > place; at--) {
      order[at] = order[at - 1];
      position[order[at]] = at;
      for (let link = 0; link < links; link++) {
        leftBefore[at * links + link] = leftBefore[(at - 1) * links + link] - crossing[row + link] * level;
      }
      leftBefore[at * links + group] = 0;
    }
    for (let link = 0; link < links; link++) left[link] -= crossing[row + link] * level;
    left[group] = 0;
    order[place] = group;
    position[group] = place;
    rate[group] = level;
  }

  /** The first position below `limit` at which an overloaded link would have been the bottleneck itself. */
  private firstWrongPosition(link: number, limit: number): number {
    const { links, order, crossing, leftBefore, rate } = this;
    let flows = this.runningOnLink[link];
    for (let at = 0; at < limit; at++) {
      const group = order[at];
      if (leftBefore[at * links + link] < flows * rate[group] * (1 - LEVEL_SLACK)) return at;
      flows -= crossing[group * links + link];
    }
    return limit;
  }

  /** Progressive filling from position `from` on; the groups before it stay. */
  private fill(from: number): void {
    this.stale = false;
    const { links, order, rate, served, crossing, left, leftBefore, unfixed, runningOnLink, position } = this;
    const { flowGroup, flowMark, flowLinks, flowStamp } = this;
    if (from === 0) left.set(this.capacities);
    else left.set(leftBefore.subarray(from * links, (from + 1) * links));
    for (let link = 0; link < links; link++) unfixed[link] = runningOnLink[link];
    for (let at = 0; at < from; at++) {
      const row = order[at] * links;
      for (let link = 0; link < links; link++) unfixed[link] -= crossing[row + link];
    }
    for (let at = from; at < this.groups; at++) position[order[at]] = -1;
    const stamp = ++this.stamp;
    let to = from;
    for (;;) {
      let group = -1;
      let level = Infinity;
      for (let link = 0; link < links; link++) {
        const open = unfixed[link];
        if (open > 0 && left[link] < level * open) {
          level = left[link] / open;
          group = link;
        }
      }
      if (group < 0) break;
      leftBefore.set(left, to * links);
      order[to] = group;
      rate[group] = level;
      const row = group * links;
      crossing.fill(0, row, row + links);
      let next = Infinity;
      const flows = this.flowsOnLink[group];
      for (let i = 0, open = unfixed[group]; open > 0; i++) {
        const flow = flows[i];
        if (flowStamp[flow] === stamp) continue;
        const old = flowGroup[flow];
        // Groups from `from` on have no position now, so this asks whether the flow's group stays.
        if (old >= 0 && position[old] >= 0) continue;
        flowStamp[flow] = stamp;
        open--;
        if (old !== group) {
          flowMark[flow] += served[group] - (old >= 0 ? served[old] : 0);
          flowGroup[flow] = group;
        }
        if (flowMark[flow] < next) next = flowMark[flow];
        for (let j = flow * LINKS_PER_FLOW, last = j + LINKS_PER_FLOW; j < last; j++) {
          const link = flowLinks[j];
          if (link < 0) break;
          crossing[row + link]++;
        }
      }
      for (let link = 0; link < links; link++) {
        const flowsHere = crossing[row + link];
        unfixed[link] -= flowsHere;
        left[link] -= flowsHere * level;
      }
      left[group] = 0;
      this.nextMark[group] = next;
      to++;
    }
    for (let at = from; at < to; at++) position[order[at]] = at;
    this.groups = to;
    leftBefore.set(left, to * links);
  }

  private reserve(transfers: number, flows: number): void {
    this.openFlows = copied(this.openFlows, new Int32Array(transfers));
    this.flowTransfer = copied(this.flowTransfer, new Int32Array(flows));
    this.flowLinks = copied(this.flowLinks, new Int32Array(flows * LINKS_PER_FLOW));
    this.flowSlot = copied(this.flowSlot, new Int32Array(flows * LINKS_PER_FLOW));
    this.flowBytes = copied(this.flowBytes, new Float64Array(flows));
    this.flowLatency = copied(this.flowLatency, new Float64Array(flows));
    this.flowState = copied(this.flowState, new Uint8Array(flows));
    this.flowGroup = copied(this.flowGroup, new Int32Array(flows).fill(-1));
    this.flowMark = copied(this.flowMark, new Float64Array(flows));
    this.flowStamp = copied(this.flowStamp, new Int32Array(flows));
  }
}

function copied<T extends Int32Array | Float64Array | Uint8Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

function sortPrefix(values: Int32Array, count: number): number {
  values.subarray(0, count).sort();
  return count;
}
