import {
  bitsOf,
  fasterRates,
  linkRates,
  tokenExchangeOf,
  type PortRates,
  type Range,
  type TokenExchange,
} from '../../hardware/index.js';
import type { Machine } from '../machine.js';
import type { ServingExchange } from './serving-costs.js';

/** Elements that share a scale in fp8, and bytes of a scale. */
const SCALED_ELEMENTS = 128;
const SCALE_BYTES = 4;

/** Bytes of a hidden state as DeepEP dispatches it: fp8 with a scale per 128 elements, or bf16. */
export function dispatchedHidden({ shape }: Machine): { payload: number; scales: number } {
  const { hiddenSize, activationDtype } = shape;
  if (bitsOf(activationDtype) > 8) return { payload: 2 * hiddenSize, scales: 0 };
  return { payload: hiddenSize, scales: Math.ceil(hiddenSize / SCALED_ELEMENTS) * SCALE_BYTES };
}

/** Dispatch and combine of a DeepEP mode, with what the profile measured of it. */
export interface DeepepExchange {
  dispatch: ServingExchange;
  combine: ServingExchange;
  rates: PortRates;
  range: Range | undefined;
  note: string;
}

/**
 * @param dispatchBytes of a message, scales and what else travels with it included
 */
export function deepepExchange(
  machine: Machine,
  mode: 'normal' | 'low-latency',
  dispatchBytes: number,
  combineBytes: number,
): DeepepExchange {
  const { profile, gpus, gpusPerNode } = machine.cluster;
  const nodes = gpus / gpusPerNode;
  const payload = {
    dispatch: dispatchedHidden(machine).payload / dispatchBytes,
    combine: (2 * machine.shape.hiddenSize) / combineBytes,
  };
  const measured = gpus > 1 ? tokenExchangeOf(profile, mode, nodes, payload) : null;
  return {
    dispatch: { bytes: dispatchBytes, cost: measured?.dispatch ?? null },
    combine: { bytes: combineBytes, cost: measured?.combine ?? null },
    rates: ratesOf(machine, measured),
    range: measured?.range,
    note: noteOf(machine, mode, nodes, measured),
  };
}

function ratesOf({ cluster: { profile } }: Machine, measured: TokenExchange | null): PortRates {
  const links = linkRates(profile);
  if (measured === null) return links;
  return [measured.dispatch.rates, measured.combine.rates].reduce(fasterRates, links);
}

function noteOf(
  { cluster: { profile } }: Machine,
  mode: string,
  nodes: number,
  measured: TokenExchange | null,
): string {
  const where = nodes === 1 ? 'inside a node' : 'between nodes';
  if (measured === null) {
    return (
      `deepep-${mode}: profile ${profile.name} holds no DeepEP timings ${where}; exchanges take the time of its ` +
      'links, without what a call costs'
    );
  }
  const { dispatch, combine } = measured;
  const micro = (seconds: number) => (seconds * 1e6).toFixed(0);
  return (
    `deepep-${mode}: exchanges take what profile ${profile.name} fitted to DeepEP's kernels ${where} (a call ` +
    `${micro(dispatch.latencySeconds)} + ${micro(combine.latencySeconds)} µs; balanced traffic only)`
  );
}
