import { PortLoads, type Exchange } from '../hardware/index.js';

/** One unit from every GPU to every other: how counts are exchanged. */
export function uniformExchange(gpus: number, gpusPerNode: number): Exchange {
  const copies = new Float64Array(gpus * gpus).fill(1);
  return { copies, ports: new PortLoads(gpus, gpusPerNode).count(copies) };
}
