import type { BackgroundMove } from '../balancing/index.js';
import type { TaskGraphBuilder } from '../engine/index.js';
import type { Network } from '../hardware/index.js';
import type { Machine } from './machine.js';
import { expertBytes } from './memory.js';
import { labelOf } from './phases.js';

/**
 * The part of a movement that travels beside one layer: a task that begins with the layer, whose messages share the
 * links with the layer's exchanges, and copies from host memory beside it. The layer ends when they have, too.
 */
export class BackgroundMovement {
  /** Bytes that the layer filled last puts on the network. */
  bytes = 0;

  private readonly transfer: number;
  private readonly restore: number[];
  private readonly source: number[] = [];
  private readonly destination: number[] = [];
  private readonly amounts: number[] = [];

  /** Adds its tasks to a graph that is being built. */
  constructor(
    graph: TaskGraphBuilder,
    private readonly machine: Machine,
    private readonly network: Network,
  ) {
    const { gpus } = machine.cluster;
    const label = labelOf('move');
    this.transfer = network.declareMessages(machine.shape.experts * gpus);
    const streams = Array.from({ length: gpus }, (_, gpu) => graph.addStream(gpu, 'movement'));
    graph.addTask({ streams, transfer: this.transfer, label });
    this.restore = streams.map((_, gpu) =>
      graph.addTask({ streams: [graph.addStream(gpu, 'host copies')], label }),
    );
  }

  /** @param duration seconds by task, of the graph's executor */
  fill(background: BackgroundMove | null, duration: Float64Array): void {
    const { source, destination, amounts, machine, restore } = this;
    const { hostLink } = machine.cluster.profile;
    let count = 0;
    this.bytes = 0;
    for (const task of restore) duration[task] = 0;
    for (const load of background?.move.loads ?? []) {
      const bytes = expertBytes(machine, load.bits) * background!.share;
      if (load.source < 0) {
        const task = restore[load.destination];
        if (duration[task] === 0) duration[task] = hostLink.latencySeconds;
        duration[task] += bytes / hostLink.bytesPerSecond;
        this.bytes += bytes;
        continue;
      }
      source[count] = load.source;
      destination[count] = load.destination;
      amounts[count] = bytes;
      count++;
      if (load.source !== load.destination) this.bytes += bytes;
    }
    this.network.setMessages(this.transfer, { count, source, destination, bytes: amounts }, -1);
  }
}
