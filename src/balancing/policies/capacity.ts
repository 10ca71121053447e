import { z } from 'zod';
import { budgets, capacityDrop } from '../dispatch/capacity-drop.js';
import { needsScores, orders } from '../dispatch/dropped-copies.js';
import { homePlan, type LayerPlan } from '../plan.js';
import { drawSeed, plainTraits, type Policy, type PolicySetting, type Refusal } from '../policy.js';

const options = z.strictObject({
  kind: z.literal('capacity'),
  factor: z
    .number()
    .positive()
    .nullable()
    .default(1.25)
    .describe('Capacity as a multiple of the mean load; null: no limit.'),
  budget: z
    .enum(budgets)
    .default('expert-per-source-gpu')
    .describe(
      'What the capacity counts over: an expert per source GPU (Megatron, DeepSpeed, Tutel), an expert, a GPU.',
    ),
  order: z
    .enum(orders)
    .default('position')
    .describe(
      'Who is kept first: by position, gate weight, tokens by their largest gate weight, or at random.',
    ),
  pad: z.boolean().default(false).describe('Fill every expert up to its capacity with empty rows.'),
  roundUpTo: z.int().min(1).default(1).describe('Capacity is rounded up to a multiple of this.'),
});

type Options = z.infer<typeof options>;

export interface State {
  options: Options;
  plan: LayerPlan;
}

/** Capacity dropping: what exceeds an expert's (or a GPU's) capacity skips that expert. Inexact. */
export const capacity: Policy<Options, State, z.input<typeof options>> = {
  ...plainTraits,
  kind: 'capacity',
  summary: 'drops the copies that exceed a capacity; inexact',
  options,
  exact: ({ factor }) => factor === null,
  sees: () => 'nothing',
  symmetric: false,
  looksAtTokens: () => true,
  refusal,
  notes: ({ order, budget, factor }, { hasTokens }) =>
    hasTokens || factor === null || (order === 'position' && budget === 'expert-per-source-gpu')
      ? []
      : [
          `capacity, budget ${budget}, order ${order}: the routing holds counts without tokens, so which copies ` +
            'are kept is approximate (how many per expert is exact, per GPU too)',
        ],
  start: (chosen, { placement }) => ({ options: chosen, plan: homePlan(placement) }),
  decide(state, view) {
    const { counts, tokensBySource, tokens } = view;
    const { factor, ...rule } = state.options;
    if (factor === null) return { state, plan: state.plan };
    const { placement } = state.plan;
    state.plan.drop = capacityDrop(
      { ...rule, factor },
      { placement, counts, tokensBySource, tokens, seed: drawSeed(view) },
    );
    return { state, plan: state.plan };
  },
};

function refusal(chosen: Options, { hasGateWeights, copiesPerGpu }: PolicySetting): Refusal | null {
  const { factor, budget, order, pad } = chosen;
  if (needsScores(order) && !hasGateWeights) {
    return {
      option: 'order',
      found: `${order}, but the routing has no gate weights`,
      allowed:
        'position, random, or routing with gate weights (workload.routing.gateWeights: true, or a trace that has them)',
    };
  }
  if (pad && factor === null) {
    return { option: 'pad', found: 'true without a factor', allowed: 'false, or a factor to fill up to' };
  }
  if (pad && budget === 'gpu') {
    return {
      option: 'pad',
      found: 'true with budget gpu',
      allowed: 'false, or a budget that counts experts',
    };
  }
  if (factor !== null && leavesNothing(chosen, factor, copiesPerGpu)) {
    const least = roundedUp(1 / copiesPerGpu!);
    return {
      option: 'factor',
      found: `${factor}, of ${copiesPerGpu} copies per GPU not a single one`,
      allowed: `at least ${least} for budget gpu (factor: ${least})`,
    };
  }
  return null;
}

/** Whether the capacity of a GPU is rounded down to nothing; those of experts are rounded up, to 1 at least. */
function leavesNothing({ budget }: Options, factor: number, copiesPerGpu: number | null): boolean {
  return (
    budget === 'gpu' && copiesPerGpu !== null && copiesPerGpu > 0 && Math.floor(copiesPerGpu * factor) < 1
  );
}

/** Rounded up to three digits, so that what is typed is enough. */
function roundedUp(share: number): number {
  const rounded = Number(share.toPrecision(3));
  return rounded >= share ? rounded : Number((share * 1.006).toPrecision(3));
}
