import { z } from 'zod';
import { LentWork } from '../dispatch/lent-work.js';
import { homeOrDivided, type LayerPlan } from '../plan.js';
import { plainTraits, type Policy } from '../policy.js';

const options = z.strictObject({
  kind: z.literal('harmoeny'),
  minTokens: z
    .int()
    .min(1)
    .default(256)
    .describe('Smallest chunk worth fetching an expert for; the paper derives it from the fetch time.'),
});

type Options = z.output<typeof options>;

export interface State {
  options: Options;
  work: LentWork;
  gpuLoads: Float64Array;
  atHome: Float64Array;
  home: LayerPlan;
  balanced: LayerPlan;
}

/**
 * HarMoEny's rebalancing (arXiv 2506.12417), as far as its abstract tells: while a GPU is above the mean, copies of
 * its largest expert go to the least loaded GPU, unless the chunk is too small to fetch the expert for. An
 * approximation: weights come from the expert's home GPU, and nothing is cached between batches.
 */
export const harmoeny: Policy<Options, State, z.input<typeof options>> = {
  ...plainTraits,
  kind: 'harmoeny',
  summary:
    'approximation of HarMoEny: chunks of the largest expert go to the least loaded GPU, in every batch',
  options,
  sees: () => 'batch',
  symmetric: false,
  plansEachBatch: () => true,
  movesWeights: () => true,
  notes: () => [
    'harmoeny: approximation; experts are fetched from their home GPU in every batch, where HarMoEny caches them and fetches from host memory',
  ],
  start(chosen, { gpus, experts, placement }) {
    const work = new LentWork(gpus, experts);
    return {
      options: chosen,
      work,
      gpuLoads: new Float64Array(gpus),
      atHome: new Float64Array(experts),
      ...homeOrDivided(placement, work),
    };
  },
  decide(state, { counts, loads }) {
    const { work, home, balanced } = state;
    work.clear();
    rebalance(state, loads);
    return { state, plan: work.divide(counts, loads, home.placement.home) ? balanced : home };
  },
};

function rebalance(
  { work, gpuLoads, atHome, home, options: { minTokens } }: State,
  loads: Float64Array,
): void {
  const { home: homeOf } = home.placement;
  gpuLoads.fill(0);
  atHome.set(loads);
  let total = 0;
  for (let e = 0; e < loads.length; e++) {
    gpuLoads[homeOf[e]] += loads[e];
    total += loads[e];
  }
  const mean = Math.ceil(total / gpuLoads.length);
  for (;;) {
    const hot = gpuLoads.indexOf(gpuLoads.reduce((a, b) => Math.max(a, b)));
    const cold = gpuLoads.indexOf(gpuLoads.reduce((a, b) => Math.min(a, b)));
    let expert = -1;
    for (let e = 0; e < loads.length; e++) {
      if (homeOf[e] === hot && (expert < 0 || atHome[e] > atHome[expert])) expert = e;
    }
    if (expert < 0 || gpuLoads[hot] <= mean) return;
    const chunk = Math.min(gpuLoads[hot] - mean, mean - gpuLoads[cold], atHome[expert]);
    if (chunk < minTokens) return;
    work.lend(expert, cold, chunk);
    atHome[expert] -= chunk;
    gpuLoads[hot] -= chunk;
    gpuLoads[cold] += chunk;
  }
}
