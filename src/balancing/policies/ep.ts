import { z } from 'zod';
import { homePlan, type LayerPlan } from '../plan.js';
import { plainTraits, type Policy } from '../policy.js';

const options = z.strictObject({ kind: z.literal('ep') });

type Options = z.infer<typeof options>;

/** Standard expert parallelism: contiguous placement, every copy at its expert's home. */
export const ep: Policy<Options, { plan: LayerPlan }, z.input<typeof options>> = {
  ...plainTraits,
  kind: 'ep',
  summary: 'standard expert parallelism: contiguous experts, nothing balanced',
  options,
  start: (_, { placement }) => ({ plan: homePlan(placement) }),
  decide: (state) => ({ state, plan: state.plan }),
};
