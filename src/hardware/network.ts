import type { Fabric } from '../engine/index.js';
import type { ExchangeCost } from './exchange-cost.js';
import type { PortLoads } from './port-loads.js';

/**
 * Copies, or messages that stand for several, exchanged among all GPUs, [source · gpus + destination], with what that
 * puts on the ports.
 */
export interface Exchange {
  copies: Float64Array;
  ports: PortLoads;
}

/** Point-to-point messages, e.g. expert weights; the first `count` entries count. */
export interface Messages {
  count: number;
  source: ArrayLike<number>;
  destination: ArrayLike<number>;
  bytes: ArrayLike<number>;
}

/**
 * A cluster's network: declares the engine's transfers and writes what they carry. `ports` and `max-min`
 * are its two forms, with one meaning: a message of b bytes between GPUs takes the route of `PortLoads`.
 */
export interface Network {
  readonly fabric: Fabric;
  /** Declares an exchange in which every GPU may send to every other; returns its transfer. */
  declareExchange(): number;
  /** Declares a transfer of at most `messages` messages. */
  declareMessages(messages: number): number;
  /**
   * Writes an exchange of `bytesPerCopy` bytes per copy; `reversed` sends every copy back where it came from.
   * @param cost of kernels with rates and latencies of their own; default: those of the profile's links
   */
  setExchange(
    transfer: number,
    exchange: Exchange,
    bytesPerCopy: number,
    reversed: boolean,
    cost?: ExchangeCost | null,
  ): void;
  /** Declares a transfer of rings with GPUs outside of the cluster. */
  declareRings(): number;
  /** Writes messages, of which those with `destination` equal to `to` are carried; all where `to` is −1. */
  setMessages(transfer: number, messages: Messages, to: number): void;
  /**
   * Writes rings with GPUs outside of the cluster, one per GPU: its NIC sends and receives so many bytes. The other
   * ends are taken to be as fast.
   */
  setRings(transfer: number, bytesByGpu: ArrayLike<number>): void;
}
