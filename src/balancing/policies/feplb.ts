import { z } from 'zod';
import { LentWork } from '../dispatch/lent-work.js';
import { homeOrDivided, type LayerPlan } from '../plan.js';
import { plainTraits, type Policy } from '../policy.js';

const options = z.strictObject({
  kind: z.literal('feplb'),
  dynamicExperts: z
    .int()
    .min(1)
    .default(2)
    .describe('Experts of a GPU, the largest of the batch, that may be computed elsewhere in the node.'),
});

type Options = z.output<typeof options>;

export interface State {
  work: LentWork;
  options: Options;
  gpusPerNode: number;
  gpuLoads: Float64Array;
  /** Experts by home. */
  own: number[][];
  home: LayerPlan;
  balanced: LayerPlan;
}

/**
 * FEPLB's second phase (arXiv 2604.19654), as its abstract has it: some experts of every GPU are dynamic; they and
 * their copies move to other GPUs of the node. An approximation: the dynamic experts of a GPU are its largest ones in
 * the batch; they go, whole, from the hottest GPU of a node to its coldest, as long as that lowers the larger load.
 */
export const feplb: Policy<Options, State, z.input<typeof options>> = {
  ...plainTraits,
  kind: 'feplb',
  summary:
    'approximation of FEPLB: some experts of a GPU are computed whole by others of its node, in every batch',
  options,
  sees: () => 'batch',
  symmetric: false,
  plansEachBatch: () => true,
  movesWeights: () => true,
  notes: () => [
    'feplb: approximation; the largest experts of a GPU are the dynamic ones; copies travel straight to the GPU that ' +
      'computes them, where FEPLB brings them home first, and weights beside the dispatch, where its copy engines move ' +
      'them beside the static experts',
  ],
  start(chosen, { gpus, gpusPerNode, experts, placement }) {
    const work = new LentWork(gpus, experts);
    const own: number[][] = Array.from({ length: gpus }, () => []);
    placement.home.forEach((gpu, expert) => own[gpu].push(expert));
    const gpuLoads = new Float64Array(gpus);
    return { options: chosen, work, gpusPerNode, gpuLoads, own, ...homeOrDivided(placement, work) };
  },
  decide(state, { counts, loads }) {
    const { work, home, balanced, gpusPerNode, own } = state;
    work.clear();
    for (let first = 0; first < own.length; first += gpusPerNode) {
      balanceNode(state, first, Math.min(first + gpusPerNode, own.length), loads);
    }
    return { state, plan: work.divide(counts, loads, home.placement.home) ? balanced : home };
  },
};

/** Moves dynamic experts from the hottest GPU of a node to its coldest, as long as that lowers the larger load. */
function balanceNode(
  { work, gpuLoads, own, options: { dynamicExperts } }: State,
  first: number,
  last: number,
  loads: Float64Array,
): void {
  const left: number[][] = [];
  for (let gpu = first; gpu < last; gpu++) {
    own[gpu].sort((a, b) => loads[b] - loads[a] || a - b);
    left.push(own[gpu].slice(0, dynamicExperts));
    gpuLoads[gpu] = own[gpu].reduce((sum, expert) => sum + loads[expert], 0);
  }
  for (;;) {
    let hot = first;
    let cold = first;
    for (let gpu = first; gpu < last; gpu++) {
      if (gpuLoads[gpu] > gpuLoads[hot]) hot = gpu;
      if (gpuLoads[gpu] < gpuLoads[cold]) cold = gpu;
    }
    const gap = gpuLoads[hot] - gpuLoads[cold];
    const candidates = left[hot - first];
    let best = -1;
    for (const [at, expert] of candidates.entries()) {
      if (loads[expert] === 0 || loads[expert] >= gap) continue;
      if (best < 0 || offHalf(loads[expert], gap) < offHalf(loads[candidates[best]], gap)) best = at;
    }
    if (best < 0) return;
    const [expert] = candidates.splice(best, 1);
    work.lend(expert, cold, loads[expert]);
    gpuLoads[hot] -= loads[expert];
    gpuLoads[cold] += loads[expert];
  }
}

/** How far a load is from half a gap, which closes it. */
function offHalf(load: number, gap: number): number {
  return Math.abs(load - gap / 2);
}
