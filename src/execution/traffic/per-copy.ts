import type { Traffic, TrafficFloor, TrafficInput } from './traffic.js';

/** Every copy is a message of its own from its source to the GPU that computes it. */
export class PerCopy implements Traffic {
  readonly received: Float64Array;

  constructor(private readonly gpus: number) {
    this.received = new Float64Array(gpus);
  }

  messages({ work }: TrafficInput): Float64Array {
    const { gpus, received } = this;
    received.fill(0);
    for (let cell = 0; cell < work.send.length; cell++) received[cell % gpus] += work.send[cell];
    return work.send;
  }
}

export const PER_COPY: TrafficFloor = { fixed: false, copiesPerMessage: 1, relayed: false };
