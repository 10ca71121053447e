import { z } from 'zod';
import { homePlan, type LayerPlan } from '../plan.js';
import { plainTraits, type Policy } from '../policy.js';

const options = z.strictObject({ kind: z.literal('balanced') });

type Options = z.infer<typeof options>;

/**
 * The anchor: every GPU computes total / GPUs copies over uniform all-to-all traffic, all its experts
 * active, nothing planned. It is what a forced-balance benchmark measures, and no lower bound.
 */
export const balanced: Policy<Options, { plan: LayerPlan }, z.input<typeof options>> = {
  ...plainTraits,
  kind: 'balanced',
  summary: 'anchor: equal loads and uniform traffic, as a forced-balance benchmark measures',
  options,
  anchor: true,
  start: (_, { placement }) => ({ plan: { ...homePlan(placement), uniform: true } }),
  decide: (state) => ({ state, plan: state.plan }),
};
