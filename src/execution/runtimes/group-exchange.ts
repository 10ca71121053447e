import { z } from 'zod';
import { PortLoads, type Cluster, type Exchange } from '../../hardware/index.js';

/** Options of runtimes whose attention several GPUs may share. */
export const attentionOptions = {
  attentionTensorParallel: z
    .int()
    .min(1)
    .default(1)
    .describe(
      "GPUs (neighbours of one node) that share every token's attention. Its partial outputs are summed and scattered " +
        'before the router, so that each has its share of the tokens, and the outputs of the layer are gathered after; ' +
        "workload.tokensPerGpu counts a GPU's share.",
    ),
};

/** @throws RangeError where groups of so many GPUs do not fit into nodes */
export function checkGroups(option: string, size: number, { gpusPerNode }: Cluster): void {
  if (gpusPerNode % size === 0) return;
  throw new RangeError(`${option}: found ${size}, allowed: a divisor of gpusPerNode = ${gpusPerNode}`);
}

/** All-gather among the GPUs of groups of neighbours; its answer is a reduce-scatter. */
export class GroupExchange {
  private readonly exchange: Exchange;

  constructor(
    private readonly cluster: Cluster,
    private readonly size: number,
  ) {
    const { gpus, gpusPerNode } = cluster;
    this.exchange = { copies: new Float64Array(gpus * gpus), ports: new PortLoads(gpus, gpusPerNode) };
  }

  /** Every GPU's tokens to the others of its group; reused. */
  count(tokens: ArrayLike<number>): Exchange {
    const { copies, ports } = this.exchange;
    const { gpus } = this.cluster;
    for (let from = 0; from < gpus; from++) {
      const first = from - (from % this.size);
      for (let to = first; to < first + this.size; to++) copies[from * gpus + to] = tokens[from];
    }
    ports.count(copies);
    return this.exchange;
  }

  /** Tokens of a GPU's group. */
  tokensOf(tokens: ArrayLike<number>, gpu: number): number {
    const first = gpu - (gpu % this.size);
    let sum = 0;
    for (let other = first; other < first + this.size; other++) sum += tokens[other];
    return sum;
  }
}
