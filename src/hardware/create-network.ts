import type { Cluster } from './cluster.js';
import { FlowNetwork } from './flow-network.js';
import type { Network } from './network.js';
import { PortNetwork } from './port-network.js';

/** The network of a cluster in the form that the cluster asks for. */
export function createNetwork(cluster: Cluster): Network {
  return cluster.fabric === 'ports' ? new PortNetwork(cluster) : new FlowNetwork(cluster);
}
