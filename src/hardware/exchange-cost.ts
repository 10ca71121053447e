import { linkSeconds } from './link.js';
import { NIC_OUT, NVLINK_OUT, type PortLoads } from './port-loads.js';
import type { Profile, Range, TokenExchangeCost } from './profile.js';

/** Bytes per second, one way, of a GPU's ports. */
export interface PortRates {
  nvlink: number;
  nic: number;
}

/** What an exchange by kernels of its own takes: bytes over the rates that they reach, on top of what a call costs. */
export interface ExchangeCost {
  latencySeconds: number;
  /** Seconds per root of the bytes through the busiest port. */
  rampSecondsPerRootByte: number;
  rates: PortRates;
}

/** The two DeepEP kernels of a mode, as a profile has them. */
export interface TokenExchange {
  dispatch: ExchangeCost;
  combine: ExchangeCost;
  /** Of both: factors by which the truth may lie below and above (90 %). */
  range: Range;
}

/** What NCCL's point-to-point messages reach. */
export function linkRates({ nvlink, nic }: Profile): PortRates {
  return { nvlink: nvlink.bytesPerSecond, nic: nic.bytesPerSecond };
}

/** The faster of each port. */
export function fasterRates(a: PortRates, b: PortRates): PortRates {
  return { nvlink: Math.max(a.nvlink, b.nvlink), nic: Math.max(a.nic, b.nic) };
}

/**
 * The measured DeepEP kernels of a mode, inside a node or between nodes; null where the profile lacks one of them.
 * @param payload share of a message's bytes that the measured rates count: hidden states without scales and ids
 */
export function tokenExchangeOf(
  profile: Profile,
  mode: TokenExchangeCost['mode'],
  nodes: number,
  payload: { dispatch: number; combine: number },
): TokenExchange | null {
  const find = (direction: TokenExchangeCost['direction']) =>
    profile.tokenExchanges.find(
      (own) => own.mode === mode && own.direction === direction && own.across === nodes > 1,
    );
  const [dispatch, combine] = [find('dispatch'), find('combine')];
  if (dispatch === undefined || combine === undefined) return null;
  const costOf = (own: TokenExchangeCost, share: number): ExchangeCost => ({
    latencySeconds: own.latencySeconds + own.latencySecondsPerNode * (nodes - 1),
    rampSecondsPerRootByte: own.rampSecondsPerRootByte * Math.sqrt(share),
    rates: {
      nvlink: own.nvlinkBytesPerSecond / share,
      nic: (own.nicBytesPerSecond ?? profile.nic.bytesPerSecond) / share,
    },
  });
  const ranges = [dispatch, combine].map(({ accuracy }) => accuracy.rowRange);
  return {
    dispatch: costOf(dispatch, payload.dispatch),
    combine: costOf(combine, payload.combine),
    range: [Math.min(...ranges.map(([low]) => low)), Math.max(...ranges.map(([, high]) => high))],
  };
}

/** Seconds before the bytes of an exchange flow. */
export function exchangeDelay(
  { latencySeconds, rampSecondsPerRootByte }: ExchangeCost,
  ports: PortLoads,
  bytesPerUnit: number,
): number {
  if (rampSecondsPerRootByte === 0) return latencySeconds;
  const busiest = Math.max(ports.busiest(NVLINK_OUT), ports.busiest(NIC_OUT)) * bytesPerUnit;
  return latencySeconds + rampSecondsPerRootByte * Math.sqrt(busiest);
}

/**
 * Seconds of an exchange that has the network to itself: its busiest port's time.
 * @param cost null: that of the profile's links
 */
export function exchangeSeconds(
  profile: Profile,
  cost: ExchangeCost | null,
  ports: PortLoads,
  bytesPerUnit: number,
): number {
  const near = ports.busiest(NVLINK_OUT) * bytesPerUnit;
  const far = ports.busiest(NIC_OUT) * bytesPerUnit;
  if (near + far === 0) return 0;
  if (cost === null) {
    const own = near > 0 ? linkSeconds(profile.nvlink, near) : 0;
    return far > 0 ? Math.max(own, linkSeconds(profile.nic, far)) : own;
  }
  const { rates } = cost;
  return exchangeDelay(cost, ports, bytesPerUnit) + Math.max(near / rates.nvlink, far / rates.nic);
}
