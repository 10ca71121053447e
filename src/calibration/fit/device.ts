import { median } from 'd3-array';
import type { Accuracy, Link } from '../../hardware/index.js';
import { bitsOf, linkSeconds } from '../../hardware/index.js';
import type { Case, Timed } from '../measurements.js';
import { accuracyOf, type Predicted } from './accuracy.js';
import { fitLog, type Parameter } from './least-squares.js';

/** What a device's own timings say of everything but expert kernels; only what was measured. */
export interface DeviceNumbers {
  copyBytesPerSecond?: number;
  gatherBytesPerSecond?: number;
  copyAccuracy?: Accuracy;
  hostLink?: Link;
  kernelLaunchSeconds?: number;
  hostSyncSeconds?: number;
}

/** Bytes that cross memory (or the host's link), and how long that took. */
interface Moved {
  group: string;
  bytes: number;
  seconds: number;
}

/** Fewest sizes that a rate and a latency are told apart by. */
const FEWEST_SIZES = 3;

const LATENCY: Parameter = { start: 5e-6, min: 0, max: 200e-6 };

/**
 * Rates of copies and gathers, the link to the host, launches and blocking reads. A rate is fitted beside a
 * latency, which belongs to the launch and is left to it.
 * @param memoryBandwidth of the datasheet, bytes per second, which no rate exceeds
 */
export function fitDevice(rows: readonly Timed[], memoryBandwidth: number): DeviceNumbers {
  const copies = movedBy(rows, copiedBytes, 'copy');
  const gathers = movedBy(rows, gatheredBytes, 'gather');
  const host = movedBy(rows, hostBytes, 'host');
  const secondsOf = (op: Case['op']) =>
    median(
      rows.filter((row) => row.case.op === op),
      ({ seconds }) => seconds,
    );
  const errors = [...leftOut(copies, memoryBandwidth), ...leftOut(gathers, memoryBandwidth)];
  return defined({
    copyBytesPerSecond: enough(copies) ? rateOf(copies, memoryBandwidth).bytesPerSecond : undefined,
    gatherBytesPerSecond: enough(gathers) ? rateOf(gathers, memoryBandwidth).bytesPerSecond : undefined,
    copyAccuracy: errors.length > 0 ? accuracyOf('one size after another left out', errors) : undefined,
    hostLink: enough(host)
      ? {
          ...rateOf(host, memoryBandwidth),
          accuracy: accuracyOf('one size after another left out', leftOut(host, memoryBandwidth)),
        }
      : undefined,
    kernelLaunchSeconds: secondsOf('launch'),
    hostSyncSeconds: secondsOf('host-sync'),
  });
}

function movedBy(rows: readonly Timed[], bytesOf: (timed: Case) => number | null, group: string): Moved[] {
  return rows.flatMap(({ case: timed, seconds }) => {
    const bytes = bytesOf(timed);
    return bytes === null ? [] : { group, bytes, seconds };
  });
}

/** Read and written. */
function copiedBytes(timed: Case): number | null {
  return timed.op === 'copy' && timed.direction === 'device-to-device' ? 2 * timed.bytes : null;
}

function hostBytes(timed: Case): number | null {
  return timed.op === 'copy' && timed.direction === 'host-to-device' ? timed.bytes : null;
}

/** A permute reads and writes every copy; an unpermute reads every copy and writes every token. */
function gatheredBytes(timed: Case): number | null {
  if (timed.op !== 'permute' && timed.op !== 'unpermute') return null;
  const { tokens, topK, hiddenSize, dtype } = timed;
  const row = (hiddenSize * bitsOf(dtype)) / 8;
  return timed.op === 'permute' ? 2 * tokens * topK * row : (tokens * topK + tokens) * row;
}

function enough(moved: readonly Moved[]): boolean {
  return new Set(moved.map(({ bytes }) => bytes)).size >= FEWEST_SIZES;
}

function rateOf(moved: readonly Moved[], most: number): Link {
  const asLink = ([bytesPerSecond, latencySeconds]: readonly number[]): Link => ({
    bytesPerSecond,
    latencySeconds,
    rampSecondsPerRootByte: 0,
  });
  const values = fitLog(
    [{ start: 0.5 * most, min: 1e-4 * most, max: most }, LATENCY],
    (tried, into) => moved.forEach(({ bytes }, i) => (into[i] = linkSeconds(asLink(tried), bytes))),
    Float64Array.from(moved, ({ seconds }) => seconds),
    new Float64Array(moved.length).fill(1),
  );
  return asLink(values);
}

/** Predictions of every size by the others. */
function leftOut(moved: readonly Moved[], most: number): Predicted[] {
  if (!enough(moved)) return [];
  return moved.map((left) => {
    const link = rateOf(
      moved.filter(({ bytes }) => bytes !== left.bytes),
      most,
    );
    return {
      shape: left.group,
      group: left.group,
      predicted: linkSeconds(link, left.bytes),
      measured: left.seconds,
    };
  });
}

/** Without what is undefined, so that it can be spread over a profile. */
function defined(numbers: DeviceNumbers): DeviceNumbers {
  return Object.fromEntries(Object.entries(numbers).filter(([, value]) => value !== undefined));
}
