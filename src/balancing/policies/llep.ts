import { z } from 'zod';
import { LeastLoadedSpill } from '../dispatch/least-loaded-spill.js';
import { homeOrDivided, type LayerPlan } from '../plan.js';
import { plainTraits, type Policy } from '../policy.js';

const options = z.strictObject({
  kind: z.literal('llep'),
  alpha: z.number().positive().default(1).describe('A GPU computes at most alpha times the mean load.'),
  minTokensPerGemm: z.int().min(1).default(1024).describe('Smallest chunk worth giving to a helper.'),
  imbalanceThreshold: z
    .number()
    .min(0)
    .default(1.3)
    .describe('λ: below this max/mean load plain EP runs; 0: no gate.'),
  gate: z
    .enum(['gpu', 'expert'])
    .default('gpu')
    .describe('Whose load the gate looks at: GPUs (the code) or experts (the paper).'),
  variant: z
    .enum(['code', 'paper'])
    .default('code')
    .describe('The official code, or the pseudo-code of the paper.'),
  helpers: z.enum(['any', 'intra-node']).default('any').describe('Which GPUs may take over work.'),
});

type Options = z.infer<typeof options>;

export interface State {
  options: Options;
  spill: LeastLoadedSpill;
  gpuLoads: Float64Array;
  home: LayerPlan;
  balanced: LayerPlan;
}

/**
 * Least-loaded expert parallelism (arXiv 2601.17111; SalesforceAIResearch/LeastLoadedEP @ 0349746): in every
 * batch, work of overloaded GPUs goes to the least loaded ones, and the weights it needs with it.
 */
export const llep: Policy<Options, State, z.input<typeof options>> = {
  ...plainTraits,
  kind: 'llep',
  summary:
    'least-loaded EP: spills copies, and the weights they need, to the least loaded GPUs in every batch',
  options,
  sees: () => 'batch',
  symmetric: false,
  plansEachBatch: () => true,
  movesWeights: () => true,
  start(chosen, { gpus, gpusPerNode, experts, placement }) {
    const spill = new LeastLoadedSpill(gpus, gpusPerNode, experts, chosen);
    return {
      options: chosen,
      spill,
      gpuLoads: new Float64Array(gpus),
      ...homeOrDivided(placement, spill),
    };
  },
  decide(state, { loads }) {
    const { imbalanceThreshold } = state.options;
    if (imbalanceThreshold > 0 && imbalance(state, loads) < imbalanceThreshold)
      return { state, plan: state.home };
    state.spill.plan(loads, state.home.placement.home);
    return { state, plan: state.balanced };
  },
};

/** max/mean load of GPUs or experts in float32, as the official code computes it; 1 without load. */
function imbalance({ options: { gate }, gpuLoads, home }: State, loads: Float64Array): number {
  const units = gate === 'gpu' ? gpuLoads : loads;
  if (gate === 'gpu') {
    gpuLoads.fill(0);
    for (let e = 0; e < loads.length; e++) gpuLoads[home.placement.home[e]] += loads[e];
  }
  let total = 0;
  let largest = 0;
  for (const load of units) {
    total += load;
    if (load > largest) largest = load;
  }
  return total === 0 ? 1 : Math.fround(Math.fround(largest) / Math.fround(total / units.length));
}
