import {
  PHASES,
  SOURCE_OF_PHASE,
  TIME_SOURCES,
  type TimedKernel,
  type TimeSource,
} from '../execution/index.js';
import type { Exposure } from './clock-errors.js';
import type { Totals } from './totals.js';

/** What the latency counted so far hangs on. */
export function exposureOf(totals: Totals, kernel: TimedKernel, gpus: number): Exposure {
  const { critical, layers, portSkew, gpuSkew, quantised, dispatchBytes, combineBytes } = totals;
  const seconds = Object.fromEntries(TIME_SOURCES.map((source) => [source, 0])) as Record<TimeSource, number>;
  PHASES.forEach((phase, p) => (seconds[SOURCE_OF_PHASE[phase]] += critical[p] / layers));
  return {
    critical: seconds,
    kernel,
    quantised: quantised > 0,
    skew: gpuSkew.maxOverMean / layers,
    portSkew: portSkew / layers,
    exchangeBytes: (dispatchBytes + combineBytes) / 2 / layers / gpus,
  };
}
