/** The four ports of every GPU; port p of GPU g has the index p · GPUs + g. */
export const NVLINK_OUT = 0;
export const NVLINK_IN = 1;
export const NIC_OUT = 2;
export const NIC_IN = 3;
export const PORTS_PER_GPU = 4;

/**
 * What an exchange puts on the ports: units (copies, bytes…) and number of peers per port. A message
 * inside a node leaves by its source's NVLink port and enters by its destination's; one between nodes uses
 * both GPUs' NICs (per-copy NCCL: each GPU its own NIC). A GPU's messages to itself use none.
 */
export class PortLoads {
  /** Units through each port, [port · gpus + gpu]. */
  readonly units: Float64Array;
  /** Messages through each port. */
  readonly peers: Int32Array;
  /** Units that leave a GPU, inside nodes and between them. */
  total = 0;

  constructor(
    readonly gpus: number,
    readonly gpusPerNode: number,
  ) {
    this.units = new Float64Array(PORTS_PER_GPU * gpus);
    this.peers = new Int32Array(PORTS_PER_GPU * gpus);
  }

  /** Counts an exchange of matrix[source · gpus + destination] units. */
  count(matrix: ArrayLike<number>): this {
    const { gpus, gpusPerNode, units, peers } = this;
    units.fill(0);
    peers.fill(0);
    let total = 0;
    for (let source = 0; source < gpus; source++) {
      const nodeStart = source - (source % gpusPerNode);
      const nodeEnd = Math.min(nodeStart + gpusPerNode, gpus);
      total += this.countRow(matrix, source, nodeStart, nodeEnd, NVLINK_OUT);
      if (nodeStart > 0) total += this.countRow(matrix, source, 0, nodeStart, NIC_OUT);
      if (nodeEnd < gpus) total += this.countRow(matrix, source, nodeEnd, gpus, NIC_OUT);
    }
    this.total = total;
    return this;
  }

  private countRow(matrix: ArrayLike<number>, source: number, from: number, to: number, out: number): number {
    const { gpus, units, peers } = this;
    const incoming = (out + 1) * gpus;
    const row = source * gpus;
    let sum = 0;
    let messages = 0;
    for (let destination = from; destination < to; destination++) {
      const amount = matrix[row + destination];
      if (amount === 0 || destination === source) continue;
      sum += amount;
      messages++;
      units[incoming + destination] += amount;
      peers[incoming + destination]++;
    }
    units[out * gpus + source] += sum;
    peers[out * gpus + source] += messages;
    return sum;
  }
}

/** The port that carries the answer to what a port carried: out becomes in. */
export function reversePort(port: number): number {
  return port ^ 1;
}
