import { MaxMinFabric } from '../engine/index.js';
import type { Cluster } from './cluster.js';
import type { Exchange, Messages, Network } from './network.js';
import { messagePorts, NIC_IN, NIC_OUT, NVLINK_OUT } from './port-loads.js';
import { portCapacities } from './port-network.js';
import { linkDelay } from './link.js';

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

  declareRings(): number {
    return this.fabric.declare(this.cluster.gpus);
  }

  setExchange(transfer: number, { copies, ports }: Exchange, bytesPerCopy: number, reversed: boolean): void {
    const { gpus, profile } = this.cluster;
    const { nvlink, nic } = profile;
    const busiest = (first: number) => {
      let most = 0;
      for (let at = first * gpus; at < (first + 2) * gpus; at++)
        if (ports.units[at] > most) most = ports.units[at];
      return most * bytesPerCopy;
    };
    const near = linkDelay(nvlink, busiest(NVLINK_OUT));
    const far = linkDelay(nic, busiest(NIC_OUT));
    this.fabric.clear(transfer);
    for (let source = 0; source < gpus; source++) {
      for (let destination = 0; destination < gpus; destination++) {
        const bytes = copies[source * gpus + destination] * bytesPerCopy;
        if (reversed) this.addMessage(transfer, destination, source, bytes, near, far);
        else this.addMessage(transfer, source, destination, bytes, near, far);
      }
    }
  }

  setMessages(transfer: number, messages: Messages, to: number): void {
    const { nvlink, nic } = this.cluster.profile;
    this.fabric.clear(transfer);
    for (let i = 0; i < messages.count; i++) {
      const destination = messages.destination[i];
      if (to >= 0 && destination !== to) continue;
      const bytes = messages.bytes[i];
      this.addMessage(
        transfer,
        messages.source[i],
        destination,
        bytes,
        linkDelay(nvlink, bytes),
        linkDelay(nic, bytes),
      );
    }
  }

  setRings(transfer: number, bytesByGpu: ArrayLike<number>): void {
    const { gpus, profile } = this.cluster;
    this.fabric.clear(transfer);
    for (let gpu = 0; gpu < gpus; gpu++) {
      const bytes = bytesByGpu[gpu];
      if (bytes === 0) continue;
      const delay = linkDelay(profile.nic, bytes);
      this.fabric.addFlow(transfer, bytes, delay, NIC_OUT * gpus + gpu, NIC_IN * gpus + gpu);
    }
  }

  /** @param nearDelay, farDelay seconds before the message's bytes flow, by NVLink and by NIC */
  private addMessage(
    transfer: number,
    source: number,
    destination: number,
    bytes: number,
    nearDelay: number,
    farDelay: number,
  ): void {
    if (source === destination || bytes === 0) return;
    const { out, into, near } = messagePorts(this.cluster, source, destination);
    this.fabric.addFlow(transfer, bytes, near ? nearDelay : farDelay, out, into);
  }
}
