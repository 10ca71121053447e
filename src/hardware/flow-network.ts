import { MaxMinFabric } from '../engine/index.js';
import type { Cluster } from './cluster.js';
import type { Exchange, Messages, Network } from './network.js';
import { exchangeDelay, linkRates, type ExchangeCost, type PortRates } from './exchange-cost.js';
import { messagePorts, NIC_IN, NIC_OUT, NVLINK_OUT } from './port-loads.js';
import { portCapacities, scaleOf } from './port-network.js';
import { linkDelay } from './link.js';

/** The network that simulates every message as a flow with its max-min fair share of both its ports. */
export class FlowNetwork implements Network {
  readonly fabric: MaxMinFabric;

  /** How much longer than its bytes say the profile's links hold a port. */
  private readonly linkScale: PortRates;

  constructor(
    private readonly cluster: Cluster,
    private readonly rates: PortRates = linkRates(cluster.profile),
  ) {
    this.fabric = new MaxMinFabric(portCapacities(cluster, rates));
    this.linkScale = scaleOf(rates, linkRates(cluster.profile));
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

  setExchange(
    transfer: number,
    { copies, ports }: Exchange,
    bytesPerCopy: number,
    reversed: boolean,
    cost: ExchangeCost | null = null,
  ): void {
    const { gpus, profile } = this.cluster;
    const { nvlink, nic } = profile;
    const delay = cost && exchangeDelay(cost, ports, bytesPerCopy);
    const near = delay ?? linkDelay(nvlink, ports.busiest(NVLINK_OUT) * bytesPerCopy);
    const far = delay ?? linkDelay(nic, ports.busiest(NIC_OUT) * bytesPerCopy);
    const scale = cost === null ? this.linkScale : scaleOf(this.rates, cost.rates);
    this.fabric.clear(transfer);
    for (let source = 0; source < gpus; source++) {
      for (let destination = 0; destination < gpus; destination++) {
        const bytes = copies[source * gpus + destination] * bytesPerCopy;
        if (reversed) this.addMessage(transfer, destination, source, bytes, near, far, scale);
        else this.addMessage(transfer, source, destination, bytes, near, far, scale);
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
        this.linkScale,
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

  /**
   * @param nearDelay, farDelay seconds before the message's bytes flow, by NVLink and by NIC
   * @param scale how much longer than its bytes say it holds a port
   */
  private addMessage(
    transfer: number,
    source: number,
    destination: number,
    bytes: number,
    nearDelay: number,
    farDelay: number,
    scale: PortRates,
  ): void {
    if (source === destination || bytes === 0) return;
    const { out, into, near } = messagePorts(this.cluster, source, destination);
    const held = bytes * (near ? scale.nvlink : scale.nic);
    this.fabric.addFlow(transfer, held, near ? nearDelay : farDelay, out, into);
  }
}
