import { NO_EXPERT, type LayerBatch } from '../../routing/index.js';
import type { MilpSolver } from '../milp-solver.js';

/** A layer to place. */
export interface AffinityShape {
  experts: number;
  gpus: number;
  /** GPUs that count as one place. */
  gpusPerPlace: number;
  /** Largest GPU load over the mean that is allowed where equal numbers of experts can be packed so. */
  balance: number;
}

/** GPU of every expert of a layer, and how that was found. */
export interface AffinityLayer {
  gpuOf: Int32Array;
  how: 'exact' | 'best found' | 'greedy' | 'packed';
}

/** Pairs of choices of the same tokens in two layers, [expert · experts + expert of the next layer]. */
export function transitionsBetween(a: LayerBatch, b: LayerBatch, experts: number): Float64Array {
  const pairs = new Float64Array(experts * experts);
  const { count, topK, experts: from } = a.tokens!;
  const { experts: to } = b.tokens!;
  for (let token = 0; token < count; token++) {
    for (let i = token * topK; i < (token + 1) * topK; i++) {
      if (from[i] === NO_EXPERT) continue;
      for (let j = token * topK; j < (token + 1) * topK; j++) {
        if (to[j] !== NO_EXPERT) pairs[from[i] * experts + to[j]]++;
      }
    }
  }
  return pairs;
}

/** Share of pairs whose experts are at one place. */
export function keptShare(
  pairs: Float64Array,
  gpuOf: ArrayLike<number>,
  nextGpuOf: ArrayLike<number>,
  gpusPerPlace: number,
): number {
  const experts = gpuOf.length;
  const placeOf = (gpu: number) => Math.floor(gpu / gpusPerPlace);
  let kept = 0;
  let all = 0;
  pairs.forEach((count, pair) => {
    all += count;
    const [from, to] = [gpuOf[Math.floor(pair / experts)], nextGpuOf[pair % experts]];
    if (placeOf(from) === placeOf(to)) kept += count;
  });
  return all === 0 ? 0 : kept / all;
}

/** Experts by falling load, each to the least loaded GPU with room; equally many on each, as far as they divide. */
export function packedLayer(loads: Float64Array, { gpus, experts }: AffinityShape): Int32Array {
  return assigned(loads, gpus, roomOf(experts, gpus), () => 0, 0);
}

/**
 * The layer after a placed one: experts go where those are that the same tokens chose before.
 * @param pairs transitions from the placed layer
 * @param before GPU by expert in it
 * @param solver null: by greed
 */
export function affineLayer(
  pairs: Float64Array,
  before: Int32Array,
  loads: Float64Array,
  shape: AffinityShape,
  solver: MilpSolver | null,
): AffinityLayer {
  const { experts, gpus, balance } = shape;
  const packed = packedLayer(loads, shape);
  const mean = loads.reduce((sum, load) => sum + load, 0) / gpus;
  const limit = Math.max(balance * mean, largestLoad(packed, loads, gpus));
  const kept = keptByGpu(pairs, before, shape);
  const room = roomOf(experts, gpus);
  if (solver !== null) {
    const found = solver.solve(programOf(kept, loads, limit, room, shape));
    if (found !== null) {
      const gpuOf = new Int32Array(experts);
      for (const name of found.chosen) {
        const [expert, gpu] = name.slice(1).split('_').map(Number);
        gpuOf[expert] = gpu;
      }
      return { gpuOf, how: found.optimal ? 'exact' : 'best found' };
    }
  }
  return {
    gpuOf: assigned(loads, gpus, room, (expert, gpu) => kept[expert * gpus + gpu], limit),
    how: 'greedy',
  };
}

/** Most experts of a GPU. */
function roomOf(experts: number, gpus: number): number {
  return Math.ceil(experts / gpus);
}

function largestLoad(gpuOf: Int32Array, loads: Float64Array, gpus: number): number {
  const gpuLoads = new Float64Array(gpus);
  gpuOf.forEach((gpu, expert) => (gpuLoads[gpu] += loads[expert]));
  return gpuLoads.reduce((most, load) => Math.max(most, load), 0);
}

/** Pairs that stay at a place if an expert goes to a GPU there, [expert · gpus + gpu]. */
function keptByGpu(
  pairs: Float64Array,
  before: Int32Array,
  { experts, gpus, gpusPerPlace }: AffinityShape,
): Float64Array {
  const kept = new Float64Array(experts * gpus);
  for (let from = 0; from < experts; from++) {
    const first = Math.floor(before[from] / gpusPerPlace) * gpusPerPlace;
    const last = Math.min(first + gpusPerPlace, gpus);
    for (let expert = 0; expert < experts; expert++) {
      const count = pairs[from * experts + expert];
      for (let gpu = first; gpu < last; gpu++) kept[expert * gpus + gpu] += count;
    }
  }
  return kept;
}

/** Experts by falling load to the GPU of most value that stays within the limit; else to the least loaded with room. */
function assigned(
  loads: Float64Array,
  gpus: number,
  room: number,
  valueOf: (expert: number, gpu: number) => number,
  limit: number,
): Int32Array {
  const gpuOf = new Int32Array(loads.length);
  const gpuLoads = new Float64Array(gpus);
  const held = new Int32Array(gpus);
  const order = Array.from(loads.keys()).sort((a, b) => loads[b] - loads[a] || a - b);
  for (const expert of order) {
    let best = -1;
    for (let gpu = 0; gpu < gpus; gpu++) {
      if (held[gpu] === room) continue;
      if (best < 0 || isBetter(expert, gpu, best)) best = gpu;
    }
    gpuOf[expert] = best;
    gpuLoads[best] += loads[expert];
    held[best]++;
  }
  return gpuOf;

  function isBetter(expert: number, gpu: number, than: number): boolean {
    const fits = gpuLoads[gpu] + loads[expert] <= limit;
    if (fits !== gpuLoads[than] + loads[expert] <= limit) return fits;
    const [own, other] = fits ? [valueOf(expert, gpu), valueOf(expert, than)] : [0, 0];
    return own !== other ? own > other : gpuLoads[gpu] < gpuLoads[than];
  }
}

/** Variable xE_G is 1 where expert E goes to GPU G. */
function programOf(
  kept: Float64Array,
  loads: Float64Array,
  limit: number,
  room: number,
  { experts, gpus }: AffinityShape,
): string {
  const sum = (count: number, term: (i: number) => string) =>
    Array.from({ length: count }, (_, i) => term(i)).join(' + ');
  const lines = [
    'Maximize',
    ` kept: ${sum(experts * gpus, (i) => `${kept[i]} x${Math.floor(i / gpus)}_${i % gpus}`)}`,
  ];
  lines.push('Subject To');
  for (let e = 0; e < experts; e++) lines.push(` once${e}: ${sum(gpus, (gpu) => `x${e}_${gpu}`)} = 1`);
  for (let gpu = 0; gpu < gpus; gpu++) {
    lines.push(` room${gpu}: ${sum(experts, (e) => `x${e}_${gpu}`)} <= ${room}`);
    lines.push(` load${gpu}: ${sum(experts, (e) => `${loads[e]} x${e}_${gpu}`)} <= ${limit}`);
  }
  lines.push(
    'Binary',
    ` ${Array.from({ length: experts * gpus }, (_, i) => `x${Math.floor(i / gpus)}_${i % gpus}`).join(' ')}`,
    'End',
  );
  return lines.join('\n');
}
