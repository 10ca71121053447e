import { z } from 'zod';
import { binomial, randomStream } from '../../routing/index.js';
import { drawSeed, type PlanKernel } from '../policy.js';
import { byQuota, FlowCache } from './quotas.js';
import { eachReplicated, plainDispatch, type DispatchRule } from './rule.js';

const lpOptions = z.strictObject({ kind: z.literal('lp') });
const sampledOptions = z.strictObject({ kind: z.literal('lp-sampled') });

const LPLB_SOLVER: PlanKernel = {
  seconds: 100e-6,
  source: 'the linear program: LPLB’s README, about 100 µs inside a node',
};

/**
 * The smallest possible largest GPU load for the batch and the placement, in whole copies: what a linear program
 * over the shares of replicas (LPLB; SGLang's `lp`) could reach if every copy followed it exactly.
 */
export const lp: DispatchRule<z.output<typeof lpOptions>, z.input<typeof lpOptions>> = {
  ...plainDispatch,
  kind: 'lp',
  summary: 'the smallest possible largest GPU load, by a linear program over replicas (exact)',
  options: lpOptions,
  plansEachBatch: true,
  planKernel: LPLB_SOLVER,
  start: (_, { gpusPerNode }) =>
    byQuota(gpusPerNode, 'even', (flow, { loads }) => void flow.fill(loads, true).balance(true)),
};

/**
 * The linear program's shares as probabilities: every copy draws its instance, as in SGLang, where all GPUs solve the
 * same program and their tokens sample. The draws add noise of about the square root of a share. The program is
 * solved exactly here; SGLang stops an interior-point method after five iterations.
 */
export const lpSampled: DispatchRule<z.output<typeof sampledOptions>, z.input<typeof sampledOptions>> = {
  ...plainDispatch,
  kind: 'lp-sampled',
  summary: "the linear program's shares as probabilities that every copy draws from",
  options: sampledOptions,
  plansEachBatch: true,
  planKernel: LPLB_SOLVER,
  start() {
    const flows = new FlowCache();
    return {
      divide(placement, view, into) {
        const flow = flows.of(placement);
        flow.fill(view.loads, false).balance(false);
        const { experts, firstEdge, edgeGpu, share } = flow;
        const { instance, slotGpu } = placement;
        const quota = new Float64Array(placement.gpus);
        const draw = randomStream(drawSeed(view), 'replica');
        let at = -1;
        eachReplicated(placement, view.counts, into, (expert, source, count, first, last) => {
          if (at < 0 || experts[at] !== expert) at = experts.indexOf(expert);
          quota.fill(0);
          if (at >= 0) for (let k = firstEdge[at]; k < firstEdge[at + 1]; k++) quota[edgeGpu[k]] = share[k];
          let left = count;
          let rest = at >= 0 ? view.loads[expert] : last - first;
          for (let i = first; i < last; i++) {
            const slot = instance[i];
            const weight = at >= 0 ? quota[slotGpu[slot]] / sharing(slotGpu, instance, first, last, slot) : 1;
            const taken = i === last - 1 ? left : binomial(left, Math.min(1, weight / rest), draw);
            into.copies[source * into.slots + slot] = taken;
            left -= taken;
            rest -= weight;
            if (left === 0) break;
          }
        });
      },
    };
  },
};

/** Slots of an expert on the GPU of one of them. */
function sharing(
  slotGpu: Int32Array,
  instance: Int32Array,
  first: number,
  last: number,
  slot: number,
): number {
  let count = 0;
  for (let i = first; i < last; i++) if (slotGpu[instance[i]] === slotGpu[slot]) count++;
  return count;
}
