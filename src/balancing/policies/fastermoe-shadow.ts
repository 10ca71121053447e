import { z } from 'zod';
import { LentWork } from '../dispatch/lent-work.js';
import { homeOrDivided, type LayerPlan } from '../plan.js';
import { plainTraits, type Policy } from '../policy.js';

const options = z.strictObject({
  kind: z.literal('fastermoe-shadow'),
  breakEvenTokens: z
    .number()
    .positive()
    .default(558)
    .describe(
      "Copies that must be taken off the largest expert to pay for one more shadow; default: FasterMoE's formula with its " +
        'defaults (50 Gb/s, 11.5 TFLOP/s, α 2) for a width of 1024 in fp32.',
    ),
});

type Options = z.output<typeof options>;

export interface State {
  options: Options;
  work: LentWork;
  order: Int32Array;
  home: LayerPlan;
  balanced: LayerPlan;
}

/**
 * Dynamic shadowing (FasterMoE, PPoPP'22; thu-pacman/FasterMoE): the largest experts are sent to all GPUs, which
 * compute their own copies of them. With experts by falling load B₁ ≥ B₂ ≥ …, a layer is estimated to take
 * (3·t_c + 4·t_f)·B for the largest expert that is not shadowed, plus t_m for every shadow; shadows are added while the
 * estimate falls, which is while B_k − B_(k+1) exceeds t_m / (3·t_c + 4·t_f).
 */
export const fastermoeShadow: Policy<Options, State, z.input<typeof options>> = {
  ...plainTraits,
  kind: 'fastermoe-shadow',
  summary: 'FasterMoE shadowing: the largest experts are sent to all GPUs, which compute their own copies',
  options,
  sees: () => 'batch',
  symmetric: false,
  plansEachBatch: () => true,
  movesWeights: () => true,
  notes: () => [
    'fastermoe-shadow: weights go one to one from the home to every GPU that has copies, where FasterMoE broadcasts; ' +
      'loads are per expert, as the paper has them (the published code sums them per source)',
  ],
  start(chosen, { gpus, experts, placement }) {
    const work = new LentWork(gpus, experts);
    return {
      options: chosen,
      work,
      order: new Int32Array(experts),
      ...homeOrDivided(placement, work),
    };
  },
  decide(state, { counts, loads }) {
    const { work, home, balanced, order, options: chosen } = state;
    const { home: homeOf, gpus, experts } = home.placement;
    for (let e = 0; e < experts; e++) order[e] = e;
    order.sort((a, b) => loads[b] - loads[a] || a - b);
    work.clear();
    for (let k = 0; k + 1 < experts && loads[order[k]] - loads[order[k + 1]] > chosen.breakEvenTokens; k++) {
      const expert = order[k];
      for (let gpu = 0; gpu < gpus; gpu++) {
        if (gpu !== homeOf[expert]) work.lend(expert, gpu, counts[gpu * experts + expert]);
      }
    }
    return { state, plan: work.divide(counts, loads, homeOf) ? balanced : home };
  },
};
