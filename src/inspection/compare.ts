import { loadStatistics } from '../metrics/index.js';
import type { Trace } from '../routing/index.js';
import { correlation, groupLoads, meanOf, medianOf, shareDistance } from './load-statistics.js';
import { observe, type Loads, type Observed } from './observe.js';
import { estimateOf, replicates, type Estimate } from './resample.js';

/** How a placement made for one trace does on another; every γ is the median over layers. */
export interface PlacementFit {
  /** GPUs. */
  gpus: number;
  /** γ of b with contiguous experts, with the placement made for a, and with the one made for b itself. */
  contiguous: number;
  planned: Estimate;
  hindsight: number;
  /**
   * What a placement gains on traffic that it was not made for, but of its own kind: γ of each half of b under the
   * placement made for the other half. null where b has no parts to halve.
   */
  heldOut: number | null;
  /** Share of the gain of b's own placement (of `heldOut`'s, where it is known) that a's placement keeps. */
  kept: number | null;
  verdict: 'serves' | 'serves partly' | 'does not serve' | 'nothing to gain' | 'too close to tell';
}

/** Two traces of one model beside each other. */
export interface Comparison {
  schema: 'epsim/trace-comparison@1';
  layers: number;
  /** Correlation of the experts' loads, median over layers. */
  correlation: number;
  /** Share of the load that goes to other experts, mean over layers. */
  distance: number;
  /** A placement made for the first trace, on the second, by EP size. */
  fits: PlacementFit[];
}

/** Share of the gain that a placement must keep to serve, and below which it does not. */
const SERVES = 0.75;
const SERVES_NOT = 0.25;
/** γ that a placement must be able to gain for it to matter. */
const WORTH = 0.02;

/**
 * Whether a placement made for the loads of `a` would serve `b`.
 * @throws RangeError where the traces do not have the same layers and experts, or an EP size does not fit
 */
export function compareTraces(a: Trace, b: Trace, ep: readonly number[]): Comparison {
  const { experts, layerIds } = a.header;
  if (b.header.experts !== experts || String(b.header.layerIds) !== String(layerIds)) {
    const shape = ({ header }: Trace) => `${header.layerIds.length} layers × ${header.experts} experts`;
    throw new RangeError(
      `found ${shape(a)} and ${shape(b)}, allowed: two traces of the same layers and experts`,
    );
  }
  const [first, second] = [observe(a), observe(b)];
  const layers = layerIds.map((_, layer) => layer * experts);
  return {
    schema: 'epsim/trace-comparison@1',
    layers: layers.length,
    correlation: medianOf(layers.map((at) => correlation(first.total, second.total, at, experts))),
    distance: meanOf(layers.map((at) => shareDistance(first.total, second.total, at, experts))),
    fits: ep.map((gpus) => {
      if (experts % gpus !== 0)
        throw new RangeError(`found EP size ${gpus}, allowed: a divisor of the ${experts} experts`);
      return fitOf(first.total, second, gpus);
    }),
  };
}

function fitOf(made: Loads, b: Observed, gpus: number): PlacementFit {
  const { layers, experts, total } = b;
  const plan = (loads: Loads) =>
    Array.from({ length: layers }, (_, layer) =>
      packed(loads.subarray(layer * experts, (layer + 1) * experts), gpus),
    );
  const gamma = (loads: Loads, placement: readonly Uint16Array[] | null) =>
    medianOf(
      Array.from({ length: layers }, (_, layer) => {
        const own = loads.subarray(layer * experts, (layer + 1) * experts);
        return loadStatistics(
          placement === null ? groupLoads(own, gpus) : placed(own, placement[layer], gpus),
        ).maxOverMean;
      }),
    );
  const placement = plan(made);
  const contiguous = gamma(total, null);
  const hindsight = gamma(total, plan(total));
  const drawn: number[] = [];
  for (const sum of replicates(b)) drawn.push(gamma(sum, placement));
  const planned = estimateOf(gamma(total, placement), drawn);
  const halves = halvesOf(b);
  const heldOut = halves && (gamma(halves[0], plan(halves[1])) + gamma(halves[1], plan(halves[0]))) / 2;
  // What a placement of the same kind of traffic can gain is the fair measure, and hindsight only where it is unknown.
  const best = Math.min(heldOut ?? hindsight, contiguous);
  const gain = contiguous - best;
  const kept = gain < WORTH ? null : (contiguous - planned.value) / gain;
  return {
    gpus,
    contiguous,
    planned,
    hindsight,
    heldOut,
    kept,
    verdict: verdictOf(contiguous, gain, planned, kept),
  };
}

function verdictOf(
  contiguous: number,
  gain: number,
  { low, high }: Estimate,
  kept: number | null,
): PlacementFit['verdict'] {
  if (kept === null) return 'nothing to gain';
  const share = (gamma: number) => (contiguous - gamma) / gain;
  // The interval must not reach from one verdict to its opposite.
  if (low !== null && high !== null && share(high) < SERVES_NOT && share(low) > SERVES)
    return 'too close to tell';
  return kept >= SERVES ? 'serves' : kept >= SERVES_NOT ? 'serves partly' : 'does not serve';
}

/** Every other part, so that drift does not tell the halves apart. */
function halvesOf({ parts, total }: Observed): [Loads, Loads] | null {
  if (parts.loads.length < 4) return null;
  const halves: [Loads, Loads] = [new Float64Array(total.length), new Float64Array(total.length)];
  parts.loads.forEach((loads, part) => {
    const into = halves[part % 2];
    for (let i = 0; i < loads.length; i++) into[i] += loads[i];
  });
  return halves;
}

/** GPU of every expert: the hottest first, each to the GPU with the least load that has room; equally many on each. */
function packed(loads: Float64Array, gpus: number): Uint16Array {
  const room = new Int32Array(gpus).fill(loads.length / gpus);
  const filled = new Float64Array(gpus);
  const gpuOf = new Uint16Array(loads.length);
  const order = Int32Array.from(loads.keys()).sort((a, b) => loads[b] - loads[a] || a - b);
  for (const expert of order) {
    let best = -1;
    for (let gpu = 0; gpu < gpus; gpu++) {
      if (room[gpu] > 0 && (best < 0 || filled[gpu] < filled[best])) best = gpu;
    }
    gpuOf[expert] = best;
    room[best]--;
    filled[best] += loads[expert];
  }
  return gpuOf;
}

function placed(loads: Float64Array, gpuOf: Uint16Array, gpus: number): Float64Array {
  const grouped = new Float64Array(gpus);
  loads.forEach((load, expert) => (grouped[gpuOf[expert]] += load));
  return grouped;
}
