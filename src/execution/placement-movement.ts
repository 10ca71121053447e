import type { PlacementMove } from '../balancing/index.js';
import { Executor, TaskGraphBuilder, type MemoryLedger } from '../engine/index.js';
import type { Messages, Network } from '../hardware/index.js';
import type { Machine } from './machine.js';
import { accountOf, expertBytes } from './memory.js';
import { labelOf } from './phases.js';

/**
 * Blocking movement: before the step in which a new placement comes into force, new replicas travel between
 * GPUs, lost precision comes back from host memory, and slots are re-quantised in place (read at the old
 * width, written at the new one), all at once. New bytes arrive in staging buffers that last as long as the movement.
 */
export class BlockingMovement {
  private readonly executor: Executor;
  private readonly transfer: number;
  private readonly restore: number[];
  private readonly convert: number[];
  private readonly arriving: number[];

  constructor(
    private readonly machine: Machine,
    private readonly network: Network,
    ledger: MemoryLedger,
  ) {
    const { gpus } = machine.cluster;
    const graph = new TaskGraphBuilder();
    const each = <T>(make: (gpu: number) => T) => Array.from({ length: gpus }, (_, gpu) => make(gpu));
    this.arriving = each((gpu) => graph.addBuffer(accountOf(gpu, 'staging')));
    this.transfer = network.declareMessages(machine.shape.experts * gpus);
    const label = labelOf('move');
    const start = graph.addTask({ streams: [], allocates: this.arriving, label });
    const arrived = graph.addTask({ streams: [], after: [start], transfer: this.transfer, label });
    this.restore = each(() => graph.addTask({ streams: [], after: [start], label }));
    this.convert = each(() => graph.addTask({ streams: [], after: [start], label }));
    graph.addTask({
      streams: [],
      after: [arrived, ...this.restore, ...this.convert],
      reads: this.arriving,
      label,
    });
    this.executor = new Executor(graph.compile(), network.fabric, ledger);
  }

  /** Seconds that the move takes, and the bytes that it puts on the network and on links to host memory. */
  run(move: PlacementMove): { seconds: number; bytes: number; hostBytes: number } {
    const { executor, machine } = this;
    const { profile, gpus } = machine.cluster;
    const { duration, bufferBytes } = executor;
    duration.fill(0);
    bufferBytes.fill(0);
    const messages = { count: 0, source: [] as number[], destination: [] as number[], bytes: [] as number[] };
    let total = 0;
    let hostBytes = 0;
    for (const { source, destination, bits } of move.loads) {
      const bytes = expertBytes(machine, bits);
      bufferBytes[this.arriving[destination]] += bytes;
      if (source < 0) {
        hostBytes += bytes;
        duration[this.restore[destination]] += bytes / profile.hostLink.bytesPerSecond;
        continue;
      }
      messages.source.push(source);
      messages.destination.push(destination);
      messages.bytes.push(bytes);
      messages.count++;
      if (source !== destination) total += bytes;
    }
    for (const { gpu, fromBits, toBits } of move.conversions) {
      const bytes = expertBytes(machine, fromBits) + expertBytes(machine, toBits);
      duration[this.convert[gpu]] += bytes / profile.copyBytesPerSecond;
    }
    for (let gpu = 0; gpu < gpus; gpu++) {
      if (duration[this.restore[gpu]] > 0) duration[this.restore[gpu]] += profile.hostLink.latencySeconds;
    }
    this.network.setMessages(this.transfer, messages satisfies Messages, -1);
    return { seconds: executor.run(0), bytes: total, hostBytes };
  }
}
