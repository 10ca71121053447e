import type { Traffic, TrafficFloor, TrafficInput } from './traffic.js';

/**
 * Copies for experts that groups of neighbouring GPUs share, each GPU with a slice of every expert of its group: all GPUs
 * of a group need every copy. GPUs with one index in their groups talk to each other.
 *
 * Group-wise (LocMoE, arXiv 2401.13920): a GPU sends the copies of its own share of the group's tokens, and what comes
 * in is handed on inside the group, an all-gather. Else every GPU of a group sends the copies of all the group's tokens,
 * of which attention has left each the same: nothing is handed on.
 */
export class GroupWise implements Traffic {
  /** Copies that reach each GPU, for its slices: those of all experts of its group. */
  readonly received: Float64Array;
  private readonly matrix: Float64Array;

  /** @param size GPUs of a group; 1: every copy to the GPU of its expert */
  constructor(
    private readonly gpus: number,
    private readonly size: number,
    private readonly groupWise: boolean,
  ) {
    this.received = new Float64Array(gpus);
    this.matrix = new Float64Array(gpus * gpus);
  }

  messages({ work }: Pick<TrafficInput, 'work'>): Float64Array {
    const { gpus, size, groupWise, matrix, received } = this;
    matrix.fill(0);
    received.fill(0);
    for (let source = 0; source < gpus; source++) {
      const own = source - (source % size);
      for (let group = 0; group < gpus; group += size) {
        let copies = 0;
        for (let gpu = group; gpu < group + size; gpu++) copies += work.send[source * gpus + gpu];
        if (copies === 0) continue;
        for (let index = 0; index < size; index++) received[group + index] += copies;
        if (!groupWise) {
          for (let index = 0; index < size; index++) matrix[(own + index) * gpus + group + index] += copies;
          continue;
        }
        const relay = group + (source % size);
        matrix[source * gpus + relay] += copies;
        for (let gpu = group; gpu < group + size; gpu++) {
          if (gpu !== relay) matrix[relay * gpus + gpu] += copies;
        }
      }
    }
    return matrix;
  }
}

/** What its messages put on the ports is all that the bound can say: which GPU relays is no choice of a plan's. */
export const GROUP_WISE: TrafficFloor = { fixed: true, copiesPerMessage: 1, relayed: true };
