import { z } from 'zod';
import { choiceSchema, chosenOf, type Chosen } from '../choice.js';
import { dispatchRules } from '../dispatch/index.js';
import type { Dispatcher, DispatchRule } from '../dispatch/rule.js';
import { historyRules } from '../history/index.js';
import type { HistoryRule } from '../history/estimator.js';
import type { Placement } from '../placement.js';
import { placementRules } from '../placements/index.js';
import type { PlacementRule } from '../placements/rule.js';
import { homePlan, SlotCopies, type LayerPlan } from '../plan.js';
import { plainTraits, type LayerView, type Policy, type PolicySetting, type Refusal } from '../policy.js';

const placement = choiceSchema(placementRules);
const dispatch = choiceSchema(dispatchRules);
const history = choiceSchema(historyRules);

/** The free choices of a combination, as a scenario writes them. */
export interface Choices {
  placement: z.output<typeof placement>;
  dispatch: z.output<typeof dispatch>;
  history: z.output<typeof history>;
}

type Options<Kind extends string> = Choices & { kind: Kind };
type Input<Kind extends string> = { kind: Kind } & Partial<{
  placement: z.input<typeof placement>;
  dispatch: z.input<typeof dispatch>;
  history: z.input<typeof history>;
}>;

/** The rules behind a combination's choices. */
interface Rules {
  placement: Chosen<PlacementRule>;
  dispatch: Chosen<DispatchRule>;
  history: Chosen<HistoryRule>;
}

function rulesOf(choices: Choices): Rules {
  return {
    placement: chosenOf(placementRules as readonly unknown[] as readonly PlacementRule[], choices.placement),
    dispatch: chosenOf(dispatchRules as readonly unknown[] as readonly DispatchRule[], choices.dispatch),
    history: chosenOf(historyRules as readonly unknown[] as readonly HistoryRule[], choices.history),
  };
}

export interface State {
  dispatcher: Dispatcher;
  slotCopies: SlotCopies;
  layers: LayerState[];
}

interface LayerState {
  placement: Placement;
  plan: LayerPlan;
}

/**
 * A policy as free choices: which slots hold what, which slot computes a copy, and what placements are planned from.
 * Named policies are combinations with their own defaults; every one of their choices can be overridden.
 */
export function combination<Kind extends string>(
  kind: Kind,
  summary: string,
  defaults: Choices,
): Policy<Options<Kind>, State, Input<Kind>> {
  const options = z.strictObject({
    kind: z.literal(kind),
    placement: placement.default(defaults.placement).describe('Which slots hold which experts.'),
    dispatch: dispatch.default(defaults.dispatch).describe('Which instance of an expert computes a copy.'),
    history: history.default(defaults.history).describe('What placements are planned from, and when.'),
  });
  return {
    ...plainTraits,
    kind,
    summary,
    options: options,
    sees: (chosen) => (rulesOf(chosen).placement.rule.adapts ? 'history' : 'nothing'),
    symmetric: false,
    plansEachBatch: (chosen) => rulesOf(chosen).dispatch.rule.plansEachBatch,
    looksAtTokens: (chosen) => rulesOf(chosen).dispatch.rule.looksAtTokens,
    calibrationShare(chosen) {
      const { placement: where, history: from } = rulesOf(chosen);
      return where.rule.adapts ? from.rule.calibrationShare(from.options) : 0;
    },
    refusal: (chosen, setting) => refusalOf(rulesOf(chosen), setting),
    start: (chosen, setting) => startOf(rulesOf(chosen), setting),
    decide,
  };
}

/** The first choice that can't work here. */
function refusalOf(
  { placement: where, dispatch: who, history: from }: Rules,
  setting: PolicySetting,
): Refusal | null {
  return (
    within('placement', where.rule.refusal(where.options, setting)) ??
    within('dispatch', who.rule.refusal(who.options, setting)) ??
    within('history', from.rule.refusal(from.options, setting))
  );
}

function within(choice: string, refusal: Refusal | null): Refusal | null {
  if (refusal === null) return null;
  return { ...refusal, option: refusal.option === '' ? choice : `${choice}.${refusal.option}` };
}

function startOf({ placement: where, dispatch: who, history: from }: Rules, setting: PolicySetting): State {
  const { gpus, layers } = setting;
  const slotCopies = new SlotCopies(gpus);
  const unknown = { sum: new Float64Array(setting.experts), rows: [] };
  const loads = where.rule.adapts
    ? from.rule.start(from.options, setting).map((estimator) => estimator.known())
    : Array.from({ length: layers }, () => unknown);
  const inForce = new Array<Placement>(layers).fill(setting.placement);
  const placements = where.rule.start(where.options, setting).place(loads, inForce);
  return {
    dispatcher: who.rule.start(who.options, setting),
    slotCopies,
    layers: placements.map((placed, layer) => {
      const own = placed ?? inForce[layer];
      return { placement: own, plan: planOn(own, slotCopies, setting) };
    }),
  };
}

/** Where every expert is where standard EP has it, and once, there is nothing to decide. */
function planOn(own: Placement, slotCopies: SlotCopies, setting: PolicySetting): LayerPlan {
  const standard = setting.placement;
  const plain =
    own === standard ||
    (own.slotExpert.length === standard.slotExpert.length &&
      own.slotExpert.every((expert, slot) => expert === standard.slotExpert[slot]));
  return { ...homePlan(plain ? standard : own), slotCopies: plain ? null : slotCopies };
}

function decide(state: State, view: LayerView): { state: State; plan: LayerPlan } {
  const { plan } = state.layers[view.layer];
  if (plan.slotCopies) {
    const { placement: own } = plan;
    state.dispatcher.divide(own, view, plan.slotCopies.reset(own.slotExpert.length));
  }
  return { state, plan };
}
