import { z } from 'zod';
import type { BalancedFlow } from './balanced-flow.js';
import { byQuota } from './quotas.js';
import { plainDispatch, type DispatchRule } from './rule.js';

const options = z.strictObject({ kind: z.literal('fewest-active') });

/**
 * METRO's aim (arXiv 2512.09277): in memory-bound decode a step takes as long as the GPU with the most active experts
 * needs to read their weights, so every active expert is computed by one instance, chosen so that the most active
 * experts of a GPU are as few as they can be. The paper's greedy comes near that number; here it is reached, by the
 * flow of `lp` over experts instead of copies. Experts by falling load go to the GPU with the fewest, then the
 * fewest copies, before the flow corrects them.
 */
export const fewestActive: DispatchRule<z.output<typeof options>, z.input<typeof options>> = {
  ...plainDispatch,
  kind: 'fewest-active',
  summary: 'one instance per active expert, so that no GPU has more of them than must be (METRO)',
  options,
  plansEachBatch: true,
  planKernel: { seconds: 20e-6, source: 'fewest-active, METRO’s greedy: a first guess' },
  start(_, { gpus, gpusPerNode, experts }) {
    const active = new Float64Array(experts);
    const copies = new Float64Array(gpus);
    return byQuota(gpusPerNode, 'first', (flow, { loads }, { home }) => {
      copies.fill(0);
      for (let e = 0; e < experts; e++) active[e] = loads[e] > 0 ? 1 : 0;
      flow.take(active, true);
      for (let e = 0; e < experts; e++) copies[home[e]] += loads[e];
      for (const e of flow.experts) copies[home[e]] -= loads[e];
      chooseOne(flow, loads, copies);
      flow.balance(true);
      flow.experts.forEach((expert, i) => {
        for (let edge = flow.firstEdge[i]; edge < flow.firstEdge[i + 1]; edge++)
          flow.share[edge] *= loads[expert];
      });
    });
  },
};

function chooseOne(flow: BalancedFlow, loads: Float64Array, copies: Float64Array): void {
  const { experts, firstEdge, edgeGpu, gpuLoads } = flow;
  const order = [...experts.keys()].sort((a, b) => loads[experts[b]] - loads[experts[a]] || a - b);
  for (const i of order) {
    const load = loads[experts[i]];
    if (load === 0) break;
    let best = firstEdge[i];
    for (let edge = best + 1; edge < firstEdge[i + 1]; edge++) {
      const [gpu, other] = [edgeGpu[edge], edgeGpu[best]];
      if (
        gpuLoads[gpu] < gpuLoads[other] ||
        (gpuLoads[gpu] === gpuLoads[other] && copies[gpu] < copies[other])
      )
        best = edge;
    }
    flow.put(best, 1);
    copies[edgeGpu[best]] += load;
  }
}
