import { z } from 'zod';
import { byQuota } from './quotas.js';
import { plainDispatch, type DispatchRule } from './rule.js';

const options = z.strictObject({ kind: z.literal('least-loaded') });

/**
 * Experts by falling load raise the least loaded GPUs that hold them to one level. A greedy rule: it never takes
 * back what it gave (`lp` does).
 */
export const leastLoaded: DispatchRule<z.output<typeof options>, z.input<typeof options>> = {
  ...plainDispatch,
  kind: 'least-loaded',
  summary: 'copies of an expert raise the least loaded GPUs that hold it to one level',
  options,
  plansEachBatch: true,
  start: (_, { gpusPerNode }) => byQuota(gpusPerNode, 'even', (flow, { loads }) => flow.fill(loads, true)),
};
