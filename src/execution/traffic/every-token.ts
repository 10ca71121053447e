import type { Traffic, TrafficFloor, TrafficInput } from './traffic.js';

/**
 * Every token goes to every GPU, whatever the router chose: an all-gather. Between nodes it crosses once, to the GPU
 * with its source's index, and is handed on inside the node, which puts on every port what NCCL's rings over all
 * NICs do: (nodes − 1) / nodes of a NIC's share of all tokens.
 */
export class EveryToken implements Traffic {
  readonly received: Float64Array;
  private readonly matrix: Float64Array;

  constructor(
    private readonly gpus: number,
    private readonly gpusPerNode: number,
  ) {
    this.received = new Float64Array(gpus);
    this.matrix = new Float64Array(gpus * gpus);
  }

  messages({ tokensBySource }: Pick<TrafficInput, 'tokensBySource'>): Float64Array {
    const { gpus, gpusPerNode, matrix, received } = this;
    matrix.fill(0);
    let all = 0;
    for (let source = 0; source < gpus; source++) {
      const tokens = tokensBySource[source];
      all += tokens;
      for (let relay = source % gpusPerNode; relay < gpus; relay += gpusPerNode) {
        const node = relay - (relay % gpusPerNode);
        matrix[source * gpus + relay] += tokens;
        for (let gpu = node; gpu < node + gpusPerNode; gpu++) {
          if (gpu !== relay) matrix[relay * gpus + gpu] += tokens;
        }
      }
    }
    received.fill(all);
    return matrix;
  }
}

export const EVERY_TOKEN: TrafficFloor = { fixed: true, copiesPerMessage: Infinity, relayed: true };
