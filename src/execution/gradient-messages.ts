import type { Placement } from '../balancing/index.js';
import type { Messages } from '../hardware/index.js';
import type { LayerAmounts } from './layer-amounts.js';

/** Instances of experts that lie on another GPU than their home. */
export interface AwayFromHome {
  source: number[];
  destination: number[];
}

const cache = new WeakMap<Placement, AwayFromHome>();

/** Replicas of a placement, from the GPU that holds each to its expert's home; those at home have no way to go. */
export function replicasOf(placement: Placement): AwayFromHome {
  let found = cache.get(placement);
  if (found) return found;
  found = { source: [], destination: [] };
  const { slotExpert, slotGpu, home } = placement;
  for (let slot = 0; slot < slotExpert.length; slot++) {
    const to = home[slotExpert[slot]];
    if (slotGpu[slot] === to) continue;
    found.source.push(slotGpu[slot]);
    found.destination.push(to);
  }
  cache.set(placement, found);
  return found;
}

/** Gradients of weights on their way to the experts' homes; reused from layer to layer. */
export class GradientMessages implements Messages {
  count = 0;
  source: Int32Array;
  destination: Int32Array;
  bytes: Float64Array;
  borrowedBytes = 0;
  replicaBytes = 0;
  private readonly arriving: Int32Array;

  constructor(gpus: number, experts: number) {
    const room = experts + gpus;
    this.source = new Int32Array(room);
    this.destination = new Int32Array(room);
    this.bytes = new Float64Array(room);
    this.arriving = new Int32Array(gpus);
  }

  /** Gradients that a GPU receives. */
  into(gpu: number): number {
    return this.arriving[gpu];
  }

  /**
   * Borrowed weights' gradients go back where the weights came from; with the last micro-batch of a step, replicas'
   * gradients go home.
   * @param bytes of one expert's gradients
   */
  take({ messages, placement }: LayerAmounts, last: boolean, bytes: number): void {
    const replicas = last ? replicasOf(placement!) : null;
    const needed = messages.count + (replicas?.source.length ?? 0);
    if (needed > this.source.length) {
      this.source = new Int32Array(2 * needed);
      this.destination = new Int32Array(2 * needed);
      this.bytes = new Float64Array(2 * needed);
    }
    this.count = 0;
    this.arriving.fill(0);
    for (let i = 0; i < messages.count; i++) this.add(messages.destination[i], messages.source[i], bytes);
    this.borrowedBytes = this.count * bytes;
    replicas?.source.forEach((gpu, i) => this.add(gpu, replicas.destination[i], bytes));
    this.replicaBytes = this.count * bytes - this.borrowedBytes;
  }

  private add(source: number, destination: number, bytes: number): void {
    const at = this.count++;
    this.source[at] = source;
    this.destination[at] = destination;
    this.bytes[at] = bytes;
    this.arriving[destination]++;
  }
}
