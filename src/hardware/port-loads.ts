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
  /** Units that leave a GPU, inside nodes and between them. */
  total = 0;

  private matrix: Float64Array = new Float64Array(0);
  private readonly peerCounts: Int32Array;
  private peersCounted = false;

  constructor(
    readonly gpus: number,
    readonly gpusPerNode: number,
  ) {
    this.units = new Float64Array(PORTS_PER_GPU * gpus);
    this.peerCounts = new Int32Array(PORTS_PER_GPU * gpus);
  }

  /** Counts an exchange of matrix[source · gpus + destination] units; keeps the matrix by reference. */
  count(matrix: Float64Array): this {
    const { gpus, gpusPerNode, units } = this;
    this.matrix = matrix;
    this.peersCounted = false;
    units.fill(0);
    let total = 0;
    for (let source = 0; source < gpus; source++) {
      const nodeStart = source - (source % gpusPerNode);
      const nodeEnd = Math.min(nodeStart + gpusPerNode, gpus);
      const near =
        this.countRow(source, nodeStart, source, NVLINK_OUT) +
        this.countRow(source, source + 1, nodeEnd, NVLINK_OUT);
      units[NVLINK_OUT * gpus + source] = near;
      total += near;
      if (gpus === gpusPerNode) continue;
      const far =
        this.countRow(source, 0, nodeStart, NIC_OUT) + this.countRow(source, nodeEnd, gpus, NIC_OUT);
      units[NIC_OUT * gpus + source] = far;
      total += far;
    }
    this.total = total;
    return this;
  }

  /** Units that a GPU sends, what it keeps for itself included. */
  sentBy(gpu: number): number {
    const { gpus, units, matrix } = this;
    return units[NVLINK_OUT * gpus + gpu] + units[NIC_OUT * gpus + gpu] + matrix[gpu * gpus + gpu];
  }

  /** Units through the busiest port of two kinds, that of a kind `out` and of what comes in by the same link. */
  busiest(out: number): number {
    const { gpus, units } = this;
    let most = 0;
    for (let port = out * gpus; port < (out + 2) * gpus; port++) if (units[port] > most) most = units[port];
    return most;
  }

  /** Busiest port of a kind over the mean of the kind; of the kind where that is largest. 1 without traffic. */
  skew(): number {
    const { gpus, units } = this;
    let worst = 1;
    for (let kind = 0; kind < PORTS_PER_GPU; kind++) {
      let sum = 0;
      let largest = 0;
      for (let port = kind * gpus; port < (kind + 1) * gpus; port++) {
        sum += units[port];
        if (units[port] > largest) largest = units[port];
      }
      if (sum > 0) worst = Math.max(worst, (largest * gpus) / sum);
    }
    return worst;
  }

  /** Messages through each port; counted when asked for. */
  get peers(): Int32Array {
    if (this.peersCounted) return this.peerCounts;
    this.peersCounted = true;
    const { gpus, matrix, peerCounts } = this;
    peerCounts.fill(0);
    for (let source = 0; source < gpus; source++) {
      for (let destination = 0; destination < gpus; destination++) {
        if (matrix[source * gpus + destination] === 0 || destination === source) continue;
        const { out, into } = messagePorts(this, source, destination);
        peerCounts[out]++;
        peerCounts[into]++;
      }
    }
    return peerCounts;
  }

  private countRow(source: number, from: number, to: number, out: number): number {
    const { gpus, units, matrix } = this;
    const incoming = (out + 1) * gpus;
    const row = source * gpus;
    let sum = 0;
    for (let destination = from; destination < to; destination++) {
      const amount = matrix[row + destination];
      sum += amount;
      units[incoming + destination] += amount;
    }
    return sum;
  }
}

/** The two ports that a message between different GPUs uses: the source's and the destination's. */
export function messagePorts(
  { gpus, gpusPerNode }: { gpus: number; gpusPerNode: number },
  source: number,
  destination: number,
): { out: number; into: number; near: boolean } {
  const near = Math.floor(source / gpusPerNode) === Math.floor(destination / gpusPerNode);
  const out = near ? NVLINK_OUT : NIC_OUT;
  return { out: out * gpus + source, into: reversePort(out) * gpus + destination, near };
}

/** The port that carries the answer to what a port carried: out becomes in. */
export function reversePort(port: number): number {
  return port ^ 1;
}
