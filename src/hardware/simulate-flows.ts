import { MaxMinFabric } from '../engine/index.js';

/**
 * A cluster of equal GPUs in equal nodes: one up and one down link per GPU, one up and one down link per
 * node. A flow uses its source's up link and its destination's down link, and both nodes' links where the
 * nodes differ.
 */
export interface FlowPlatform {
  gpus: number;
  gpusPerNode: number;
  /** Bytes per second of a GPU's link, each way. */
  gpuBandwidth: number;
  /** Seconds before a flow takes bandwidth. */
  gpuLatency: number;
  /** Bytes per second of a node's link, each way. */
  nodeBandwidth: number;
  /** Seconds added where a flow leaves its node. */
  nodeLatency: number;
}

export interface Flow {
  src: number;
  dst: number;
  bytes: number;
  /** Seconds; 0 if not given. */
  start?: number;
}

/**
 * Finish times (seconds, in the order of `flows`) of flows that share links max-min fairly at every moment.
 * A flow takes bandwidth from start + latency on. A flow from a GPU to itself, or without bytes, ends when
 * it starts.
 *
 * @throws RangeError when a flow names a GPU that the platform lacks, or an amount is not a finite number ≥ 0
 */
export function simulateFlows(platform: FlowPlatform, flows: readonly Flow[]): number[] {
  const { gpus, gpusPerNode, gpuLatency, nodeLatency } = platform;
  const nodes = Math.ceil(gpus / gpusPerNode);
  const capacities = new Float64Array(2 * (gpus + nodes));
  capacities.fill(platform.gpuBandwidth, 0, 2 * gpus).fill(platform.nodeBandwidth, 2 * gpus);
  const fabric = new MaxMinFabric(capacities);
  fabric.declareSingles(flows.length);
  flows.forEach((flow, i) => {
    checkFlow(flow, i, gpus);
    const { src, dst, bytes } = flow;
    if (src === dst) return;
    const srcNode = Math.floor(src / gpusPerNode);
    const dstNode = Math.floor(dst / gpusPerNode);
    if (srcNode === dstNode) fabric.addFlow(i, bytes, gpuLatency, src, gpus + dst);
    else {
      const nodeUp = 2 * gpus + srcNode;
      const nodeDown = 2 * gpus + nodes + dstNode;
      fabric.addFlow(i, bytes, gpuLatency + nodeLatency, src, gpus + dst, nodeUp, nodeDown);
    }
  });

  const startOf = (i: number) => flows[i].start ?? 0;
  const byStart = Uint32Array.from(flows.keys()).sort((a, b) => startOf(a) - startOf(b) || a - b);
  const finish = new Array<number>(flows.length);
  const ended = new Int32Array(flows.length);
  let next = 0;
  for (let left = flows.length; left > 0;) {
    const start = next < byStart.length ? startOf(byStart[next]) : Infinity;
    const completion = fabric.nextCompletion();
    if (start <= completion) {
      while (next < byStart.length && startOf(byStart[next]) === start) fabric.begin(byStart[next++], start);
      continue;
    }
    const count = fabric.complete(completion, ended);
    for (let i = 0; i < count; i++) finish[ended[i]] = completion;
    left -= count;
  }
  return finish;
}

function checkFlow({ src, dst, bytes, start = 0 }: Flow, index: number, gpus: number): void {
  for (const [name, gpu] of [
    ['src', src],
    ['dst', dst],
  ] as const) {
    if (!(Number.isInteger(gpu) && gpu >= 0 && gpu < gpus)) {
      throw new RangeError(`flows[${index}].${name}: found ${gpu}, allowed: a GPU from 0 to ${gpus - 1}`);
    }
  }
  for (const [name, amount] of [
    ['bytes', bytes],
    ['start', start],
  ] as const) {
    if (!(Number.isFinite(amount) && amount >= 0)) {
      throw new RangeError(`flows[${index}].${name}: found ${amount}, allowed: a finite number ≥ 0`);
    }
  }
}
