import { PortFabric } from '../engine/index.js';
import type { Cluster } from './cluster.js';
import { exchangeDelay, linkRates, type ExchangeCost, type PortRates } from './exchange-cost.js';
import { linkDelay } from './link.js';
import type { Exchange, Messages, Network } from './network.js';
import { messagePorts, NIC_IN, NIC_OUT, PORTS_PER_GPU, reversePort } from './port-loads.js';

/** Bytes per second of every port of a cluster, [port · gpus + gpu]. */
export function portCapacities({ gpus, portShares }: Cluster, { nvlink, nic }: PortRates): Float64Array {
  const full = perPort(gpus, nvlink, nic);
  return portShares === undefined ? full : full.map((rate, port) => rate * portShares[port]);
}

function perPort(gpus: number, nvlink: number, nic: number): Float64Array {
  return new Float64Array(PORTS_PER_GPU * gpus).fill(nvlink, 0, 2 * gpus).fill(nic, 2 * gpus);
}

/** The network whose collectives take their busiest port's time. */
export class PortNetwork implements Network {
  readonly fabric: PortFabric;
  private readonly latencies: Float64Array;
  /** Seconds per root of the bytes through a port; null where there is no such term. */
  private readonly ramps: Float64Array | null;
  /** Latency and ramp of the exchange being written, by port. */
  private readonly delays: Float64Array;
  /** What a call costs anyway, at every port, where its kernels have a cost of their own. */
  private readonly callDelays: Float64Array;
  private readonly usedPorts: number;
  /** Ports in use whose latency grows with their bytes; NVLink's come first. */
  private readonly rampedPorts: number;
  /** Port of every entry of `PortLoads`, and the port that its answer takes. */
  private readonly straight: Int32Array;
  private readonly mirrored: Int32Array;
  private sharing = false;
  private readonly bytes: Float64Array;
  private readonly flows: Int32Array;
  /** Bytes of the largest message through every port: messages fill their pipelines side by side. */
  private readonly largest: Float64Array;
  /** Units of an exchange that does not reach the ports' rates, as if it carried more of them. */
  private readonly weighted: Float64Array;
  /** How much longer than its bytes say the profile's links hold a port. */
  private readonly linkScale: PortRates;

  constructor(
    private readonly cluster: Cluster,
    private readonly rates: PortRates = linkRates(cluster.profile),
  ) {
    const { gpus, gpusPerNode, profile } = cluster;
    this.fabric = new PortFabric(portCapacities(cluster, rates));
    this.linkScale = scaleOf(rates, linkRates(profile));
    this.latencies = perPort(gpus, profile.nvlink.latencySeconds, profile.nic.latencySeconds);
    const [nvlinkRamp, nicRamp] = [profile.nvlink.rampSecondsPerRootByte, profile.nic.rampSecondsPerRootByte];
    this.ramps = nvlinkRamp + nicRamp > 0 ? perPort(gpus, nvlinkRamp, nicRamp) : null;
    this.delays = Float64Array.from(this.latencies);
    this.callDelays = new Float64Array(this.latencies.length);
    this.usedPorts = (gpus > gpusPerNode ? PORTS_PER_GPU : 2) * gpus;
    this.rampedPorts = nicRamp > 0 ? this.usedPorts : 2 * gpus;
    this.straight = Int32Array.from({ length: this.usedPorts }, (_, port) => port);
    this.mirrored = this.straight.map((port) => reversePort(Math.floor(port / gpus)) * gpus + (port % gpus));
    this.bytes = new Float64Array(this.usedPorts);
    this.flows = new Int32Array(this.usedPorts);
    this.largest = new Float64Array(this.usedPorts);
    this.weighted = new Float64Array(this.usedPorts);
  }

  declareExchange(): number {
    return this.fabric.declare(this.usedPorts);
  }

  declareMessages(): number {
    this.sharing = true;
    return this.fabric.declare(this.usedPorts);
  }

  declareRings(): number {
    this.sharing = true;
    return this.fabric.declare(2 * this.cluster.gpus);
  }

  setExchange(
    transfer: number,
    { ports }: Exchange,
    bytesPerCopy: number,
    reversed: boolean,
    cost: ExchangeCost | null = null,
  ): void {
    const carriers = reversed ? this.mirrored : this.straight;
    // How many flows a port carries matters only where transfers may share it.
    const flows = this.sharing ? ports.peers : null;
    const { ramps, latencies, delays, rampedPorts } = this;
    const scale = cost === null ? this.linkScale : scaleOf(this.rates, cost.rates);
    const units = this.scaled(ports.units, scale);
    if (cost !== null) this.callDelays.fill(exchangeDelay(cost, ports, bytesPerCopy));
    else if (ramps !== null) {
      for (let i = 0; i < rampedPorts; i++) {
        const port = carriers[i];
        delays[port] = latencies[port] + ramps[port] * Math.sqrt(ports.units[i] * bytesPerCopy);
      }
    }
    this.fabric.set(transfer, carriers, units, bytesPerCopy, flows, cost === null ? delays : this.callDelays);
  }

  private scaled(units: Float64Array, { nvlink, nic }: PortRates): Float64Array {
    if (nvlink === 1 && nic === 1) return units;
    const { weighted } = this;
    const near = 2 * this.cluster.gpus;
    for (let i = 0; i < weighted.length; i++) weighted[i] = units[i] * (i < near ? nvlink : nic);
    return weighted;
  }

  setMessages(transfer: number, messages: Messages, to: number): void {
    const { fabric, latencies, bytes, flows, largest } = this;
    bytes.fill(0);
    largest.fill(0);
    flows.fill(0);
    for (let i = 0; i < messages.count; i++) {
      const source = messages.source[i];
      const destination = messages.destination[i];
      if ((to >= 0 && destination !== to) || source === destination) continue;
      const { out, into } = messagePorts(this.cluster, source, destination);
      const amount = messages.bytes[i];
      bytes[out] += amount;
      flows[out]++;
      largest[out] = Math.max(largest[out], amount);
      bytes[into] += amount;
      flows[into]++;
      largest[into] = Math.max(largest[into], amount);
    }
    fabric.clear(transfer);
    for (let port = 0; port < bytes.length; port++) {
      if (flows[port] === 0) continue;
      const ramp = this.ramps === null ? 0 : this.ramps[port] * Math.sqrt(largest[port]);
      const scale = port < 2 * this.cluster.gpus ? this.linkScale.nvlink : this.linkScale.nic;
      fabric.add(transfer, port, bytes[port] * scale, flows[port], latencies[port] + ramp);
    }
  }

  setRings(transfer: number, bytesByGpu: ArrayLike<number>): void {
    const { fabric, cluster } = this;
    const { gpus, profile } = cluster;
    fabric.clear(transfer);
    for (let gpu = 0; gpu < gpus; gpu++) {
      const bytes = bytesByGpu[gpu];
      if (bytes === 0) continue;
      const delay = linkDelay(profile.nic, bytes);
      fabric.add(transfer, NIC_OUT * gpus + gpu, bytes, 1, delay);
      fabric.add(transfer, NIC_IN * gpus + gpu, bytes, 1, delay);
    }
  }
}

/** Factors by which bytes at `slower` rates hold a port of `rates` for longer. */
export function scaleOf(rates: PortRates, slower: PortRates): PortRates {
  return { nvlink: rates.nvlink / slower.nvlink, nic: rates.nic / slower.nic };
}
