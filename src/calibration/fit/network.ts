import { group as groupBy, min } from 'd3-array';
import { linkSeconds, type Link, type TokenExchangeCost } from '../../hardware/index.js';
import type { CollectiveRow, TokenExchangeRow } from '../measurements.js';
import { accuracyOf, type Predicted } from './accuracy.js';
import { fitLog, type Parameter } from './least-squares.js';

/** Exchanges below this are bound by latency, and told apart less by their bytes than by chance. */
const LARGE_BYTES = 2 ** 20;

const LATENCY: Parameter = { start: 10e-6, min: 0, max: 200e-6 };
const PER_NODE: Parameter = { start: 10e-6, min: 0, max: 100e-6 };
const RAMP: Parameter = { start: 3e-9, min: 0, max: 100e-9 };

/** All-to-all rows inside a node that a link is fitted on. */
export function nvlinkRows(rows: readonly CollectiveRow[]): CollectiveRow[] {
  return rows.filter(
    ({ collective, bytes, gpus, gpusPerNode }) =>
      collective === 'all-to-all' && bytes >= LARGE_BYTES && gpus > 1 && gpus <= gpusPerNode,
  );
}

/** Bytes that cross a GPU's port: all of its buffer but its own part. */
function crossing({ bytes, gpus }: CollectiveRow): number {
  return (bytes * (gpus - 1)) / gpus;
}

/**
 * NVLink inside a node from all-to-all rows of 1 MiB and more, with the accuracy that leaving out one number of
 * GPUs after another shows.
 * @param nominal bytes per second of the datasheet, which no fit exceeds
 */
export function fitNvlink(rows: readonly CollectiveRow[], nominal: number): Link {
  const accuracy = accuracyOf(
    'one number of GPUs after another left out',
    crossValidateNvlink(rows, nominal),
  );
  return { ...fitLink(nvlinkRows(rows), nominal), accuracy };
}

/** Predictions of every row that a link is fitted on by a fit on other numbers of GPUs. */
export function crossValidateNvlink(rows: readonly CollectiveRow[], nominal: number): Predicted[] {
  const large = nvlinkRows(rows);
  return [...new Set(large.map(({ gpus }) => gpus))].flatMap((gpus) =>
    predictLink(
      fitLink(
        large.filter((row) => row.gpus !== gpus),
        nominal,
      ),
      large.filter((row) => row.gpus === gpus),
    ),
  );
}

function fitLink(own: readonly CollectiveRow[], nominal: number): Link {
  const asLink = ([bytesPerSecond, latencySeconds, rampSecondsPerRootByte]: readonly number[]): Link => ({
    bytesPerSecond,
    latencySeconds,
    rampSecondsPerRootByte,
  });
  const bytes = own.map(crossing);
  const values = fitLog(
    [{ start: 0.7 * nominal, min: 0.1 * nominal, max: nominal }, LATENCY, RAMP],
    (tried, into) => {
      const link = asLink(tried);
      bytes.forEach((crossed, i) => (into[i] = linkSeconds(link, crossed)));
    },
    Float64Array.from(own, ({ seconds }) => seconds),
    new Float64Array(own.length).fill(1),
  );
  return asLink(values);
}

/** Predictions of all-to-all rows by a link. */
function predictLink(link: Link, rows: readonly CollectiveRow[]): Predicted[] {
  return rows.map((row) => ({
    shape: `${row.gpus} GPUs`,
    group: `${row.gpus} GPUs`,
    predicted: linkSeconds(link, crossing(row)),
    measured: row.seconds,
  }));
}

/** Bytes of one GPU's tokens by NVLink and by NIC. */
interface Traffic {
  nvlink: number;
  nic: number;
  nodes: number;
}

/**
 * Expected traffic under uniform routing: tokens · hidden · (1 byte there, 2 back) · distinct destinations. The
 * normal kernels send a token once per other node, then once per GPU over NVLink; the low-latency ones send
 * every copy by itself.
 */
function trafficOf(row: TokenExchangeRow): Traffic {
  const { mode, direction, nodes, gpusPerNode, hiddenSize, tokensPerGpu, topK, experts } = row;
  const token = tokensPerGpu * hiddenSize * (direction === 'dispatch' ? 1 : 2);
  const gpus = nodes * gpusPerNode;
  if (mode === 'low-latency') {
    const near = (gpusPerNode - 1) / gpus;
    return { nvlink: token * topK * near, nic: (token * topK * (gpus - gpusPerNode)) / gpus, nodes };
  }
  const distinct = (groups: number) => groups * (1 - chanceOfNone(experts, experts / groups, topK));
  return {
    nvlink: (token * distinct(gpus) * (gpusPerNode - 1)) / gpusPerNode,
    nic: nodes === 1 ? 0 : (token * distinct(nodes) * (nodes - 1)) / nodes,
    nodes,
  };
}

/** The chance that none of `topK` distinct experts is one of `own`. */
function chanceOfNone(experts: number, own: number, topK: number): number {
  let chance = 1;
  for (let j = 0; j < topK; j++) chance *= Math.max(0, experts - own - j) / (experts - j);
  return chance;
}

/** Of rows that differ in their number of SMs only, the fastest. */
function atBestSms(rows: readonly TokenExchangeRow[]): TokenExchangeRow[] {
  const key = (row: TokenExchangeRow) =>
    [row.mode, row.direction, row.nodes, row.hiddenSize, row.tokensPerGpu, row.topK, row.experts].join();
  return [...groupBy(rows, key).values()].map((own) => {
    const best = min(own, ({ seconds }) => seconds);
    return own.find(({ seconds }) => seconds === best)!;
  });
}

/** Seconds of a DeepEP call: the slower of both ways, on top of what a call costs anyway. */
function tokenExchangeSeconds(
  cost: Omit<TokenExchangeCost, 'accuracy'>,
  { nvlink, nic, nodes }: Traffic,
): number {
  const slower = Math.max(nvlink / cost.nvlinkBytesPerSecond, nic / (cost.nicBytesPerSecond ?? Infinity));
  return (
    cost.latencySeconds +
    cost.latencySecondsPerNode * (nodes - 1) +
    cost.rampSecondsPerRootByte * Math.sqrt(Math.max(nvlink, nic)) +
    slower
  );
}

/** Bytes per second of the datasheet, one way. */
interface NominalRates {
  nvlink: number;
  nic: number;
}

/**
 * DeepEP kernels from rows at their best number of SMs: one for every mode and direction, inside a node and
 * between nodes. Accuracy by leaving out every fourth row; kernels with fewer rows than `fewest` are left out.
 */
export function fitTokenExchanges(
  rows: readonly TokenExchangeRow[],
  nominal: NominalRates,
  fewest = 12,
): TokenExchangeCost[] {
  return kernelsOf(rows, fewest).map((own) => ({
    ...fitKernel(own, nominal),
    accuracy: accuracyOf('every fourth row left out', withoutEveryFourth(own, nominal)),
  }));
}

/** By kernel: predictions of the same rows, each by a fit on three quarters of the others. */
export function crossValidateTokenExchanges(
  rows: readonly TokenExchangeRow[],
  nominal: NominalRates,
  fewest = 12,
): { mode: TokenExchangeRow['mode']; direction: TokenExchangeRow['direction']; left: Predicted[] }[] {
  return kernelsOf(rows, fewest).map((own) => {
    const [{ mode, direction }] = own;
    return { mode, direction, left: withoutEveryFourth(own, nominal) };
  });
}

function kernelsOf(rows: readonly TokenExchangeRow[], fewest: number): TokenExchangeRow[][] {
  const key = ({ mode, direction, nodes }: TokenExchangeRow) => [mode, direction, nodes > 1].join();
  return [...groupBy(atBestSms(rows), key).values()].filter(({ length }) => length >= fewest);
}

function withoutEveryFourth(own: readonly TokenExchangeRow[], nominal: NominalRates): Predicted[] {
  return [0, 1, 2, 3].flatMap((fold) =>
    predictTokenExchange(
      fitKernel(
        own.filter((_, i) => i % 4 !== fold),
        nominal,
      ),
      own.filter((_, i) => i % 4 === fold),
    ),
  );
}

function fitKernel(
  own: readonly TokenExchangeRow[],
  nominal: NominalRates,
): Omit<TokenExchangeCost, 'accuracy'> {
  const { mode, direction, nodes } = own[0];
  const across = nodes > 1;
  const traffic = own.map(trafficOf);
  const asCost = ([nvlink, nic, latency, perNode, ramp]: readonly number[]) => ({
    mode,
    direction,
    across,
    latencySeconds: latency,
    latencySecondsPerNode: across ? perNode : 0,
    rampSecondsPerRootByte: ramp,
    nvlinkBytesPerSecond: nvlink,
    nicBytesPerSecond: across ? nic : null,
  });
  const values = fitLog(
    [
      { start: 0.6 * nominal.nvlink, min: 0.1 * nominal.nvlink, max: nominal.nvlink },
      { start: 0.9 * nominal.nic, min: 0.1 * nominal.nic, max: nominal.nic },
      LATENCY,
      PER_NODE,
      RAMP,
    ],
    (tried, into) => {
      const cost = asCost(tried);
      traffic.forEach((each, i) => (into[i] = tokenExchangeSeconds(cost, each)));
    },
    Float64Array.from(own, ({ seconds }) => seconds),
    new Float64Array(own.length).fill(1),
  );
  return asCost(values);
}

/** Predictions of DeepEP rows by a cost. */
function predictTokenExchange(
  cost: Omit<TokenExchangeCost, 'accuracy'>,
  rows: readonly TokenExchangeRow[],
): Predicted[] {
  return rows.map((row) => ({
    shape: `${row.nodes} nodes, hidden ${row.hiddenSize}`,
    group: row.nodes === 1 ? '1 node' : `${row.nodes} nodes`,
    predicted: tokenExchangeSeconds(cost, trafficOf(row)),
    measured: row.seconds,
  }));
}
