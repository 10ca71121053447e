import type { Cluster } from './cluster.js';
import { linkRates } from './exchange-cost.js';
import { FlowNetwork } from './flow-network.js';
import type { Network } from './network.js';
import { PortNetwork } from './port-network.js';

/**
 * The network of a cluster in the form that the cluster asks for.
 * @param rates of its ports; default: what the profile's links reach. What is slower holds a port for longer
 */
export function createNetwork(cluster: Cluster, rates = linkRates(cluster.profile)): Network {
  return cluster.fabric === 'ports' ? new PortNetwork(cluster, rates) : new FlowNetwork(cluster, rates);
}
