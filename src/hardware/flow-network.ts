import { MaxMinFabric } from '../engine/index.js';
import type { Cluster } from './cluster.js';
import type { Exchange, Messages, Network } from './network.js';
import { messagePorts } from './port-loads.js';
import { portCapacities } from './port-network.js';

/** The network that simulates every message as a flow with its max-min fair share of both its ports. */
export class FlowNetwork implements Network {
  readonly fabric: MaxMinFabric;

  constructor(private readonly cluster: Cluster) {
    this.fabric = new MaxMinFabric(portCapacities(cluster));
  }

  declareExchange(): number {
    const { gpus } = this.cluster;
    return this.fabric.declare(gpus * (gpus - 1));
  }

  declareMessages(messages: number): number {
    return this.fabric.declare(messages);
  }

  setExchange(transfer: number, { copies }: Exchange, bytesPerCopy: number, reversed: boolean): void {
    const { gpus } = this.cluster;
    this.fabric.clear(transfer);
    for (let source = 0; source < gpus; source++) {
      for (let destination = 0; destination < gpus; destination++) {
        const bytes = copies[source * gpus + destination] * bytesPerCopy;
        if (reversed) this.addMessage(transfer, destination, source, bytes);
        else this.addMessage(transfer, source, destination, bytes);
      }
    }
  }

  setMessages(transfer: number, messages: Messages, to: number): void {
    this.fabric.clear(transfer);
    for (let i = 0; i < messages.count; i++) {
      const destination = messages.destination[i];
      if (to >= 0 && destination !== to) continue;
      this.addMessage(transfer, messages.source[i], destination, messages.bytes[i]);
    }
  }

  private addMessage(transfer: number, source: number, destination: number, bytes: number): void {
    if (source === destination || bytes === 0) return;
    const { out, into, near } = messagePorts(this.cluster, source, destination);
    const { nvlink, nic } = this.cluster.profile;
    this.fabric.addFlow(transfer, bytes, (near ? nvlink : nic).latencySeconds, out, into);
  }
}
