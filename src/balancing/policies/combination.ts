import { z } from 'zod';
import { choiceSchema, chosenOf } from '../choice.js';
import { dispatchRules } from '../dispatch/index.js';
import type { DispatchRule } from '../dispatch/rule.js';
import type { HistoryRule } from '../history/estimator.js';
import { historyRules } from '../history/index.js';
import { movementRules } from '../movement/index.js';
import { planSecondsOfLayer, type MovementRule } from '../movement/rule.js';
import { placementRules } from '../placements/index.js';
import type { PlacementRule } from '../placements/rule.js';
import { plainTraits, type Policy, type PolicySetting, type Refusal } from '../policy.js';
import { decideLayer, startLayers, type Rules, type State } from './placed-layers.js';

const placement = choiceSchema(placementRules);
const dispatch = choiceSchema(dispatchRules);
const movement = choiceSchema(movementRules);
const history = choiceSchema(historyRules);

/** The choices of a combination, as a scenario writes them. */
export interface Choices {
  placement: z.output<typeof placement>;
  dispatch: z.output<typeof dispatch>;
  /** Null: blocking; free where an oracle plans. */
  movement: z.output<typeof movement> | null;
  history: z.output<typeof history>;
  /** Slots of a layer, instead of what the placement says; null: that. */
  slots: number | null;
}

type Options<Kind extends string> = Choices & { kind: Kind };
type Input<Kind extends string> = { kind: Kind } & Partial<{
  placement: z.input<typeof placement>;
  dispatch: z.input<typeof dispatch>;
  movement: z.input<typeof movement> | null;
  history: z.input<typeof history>;
  slots: number | null;
}>;

/**
 * A policy as free choices: which slots hold what, which slot computes a copy, how weights move to a new placement,
 * and what placements are planned from. Named policies are combinations with their own defaults; every one of their
 * choices can be overridden.
 */
export function combination<Kind extends string>(
  kind: Kind,
  summary: string,
  defaults: Omit<Choices, 'slots'>,
): Policy<Options<Kind>, State, Input<Kind>> {
  const options = z.strictObject({
    kind: z.literal(kind),
    placement: placement.default(defaults.placement).describe('Which slots hold which experts.'),
    dispatch: dispatch.default(defaults.dispatch).describe('Which instance of an expert computes a copy.'),
    movement: movement
      .nullable()
      .default(defaults.movement)
      .describe('How weights move to a new placement; null: blocking, or free where an oracle plans.'),
    history: history.default(defaults.history).describe('What placements are planned from, and when.'),
    slots: z
      .int()
      .min(1)
      .nullable()
      .default(null)
      .describe('Slots of a layer: short for those of the placement; null: what that says.'),
  });
  return {
    ...plainTraits,
    kind,
    summary,
    options: options,
    hypothetical(chosen) {
      const { placement: where, history: from, movement: how } = rulesOf(chosen);
      return (
        where.rule.adapts && (from.rule.from === 'batch' || (from.rule.from === 'steps' && how.rule.free))
      );
    },
    sees(chosen) {
      const { placement: where, history: from } = rulesOf(chosen);
      if (!where.rule.adapts) return 'nothing';
      return from.rule.from === 'batch' ? 'batch' : 'history';
    },
    symmetric: false,
    plansEachBatch: (chosen) => rulesOf(chosen).dispatch.rule.plansEachBatch,
    movesInBackground: (chosen) => rulesOf(chosen).movement.rule.background,
    looksAtTokens: (chosen) => rulesOf(chosen).dispatch.rule.looksAtTokens,
    calibrationShare(chosen) {
      const { placement: where, history: from } = rulesOf(chosen);
      return where.rule.adapts ? from.rule.calibrationShare(from.options) : 0;
    },
    warmup(chosen) {
      const { placement: where, history: from } = rulesOf(chosen);
      const schedule = where.rule.adapts ? from.rule.schedule(from.options) : null;
      return schedule === null ? 0 : schedule.first + schedule.staleness;
    },
    refusal: (chosen, setting) => refusalOf(chosen, rulesOf(chosen), defaults, setting),
    notes: (chosen, setting) => notesOf(kind, rulesOf(chosen), setting),
    start: (chosen, setting) => startLayers(rulesOf(chosen), setting),
    decide: decideLayer,
  };
}

/** The chosen placement with the slots that were asked for beside it; slots say themselves whether there are replicas. */
function placementOf({ placement: where, slots }: Choices): Rules['placement'] {
  const chosen = chosenOf(placementRules as unknown as readonly PlacementRule[], where);
  if (slots === null) return chosen;
  const { reorderOnly: _, ...options } = chosen.options as { reorderOnly?: boolean };
  const parsed = chosen.rule.options.safeParse({ ...options, slots });
  return parsed.success ? { rule: chosen.rule, options: parsed.data } : chosen;
}

function rulesOf(choices: Choices): Rules {
  const { dispatch: who, movement: how, history: from } = choices;
  const known = chosenOf(historyRules as unknown as readonly HistoryRule[], from);
  return {
    placement: placementOf(choices),
    dispatch: chosenOf(dispatchRules as unknown as readonly DispatchRule[], who),
    movement: chosenOf(
      movementRules as unknown as readonly MovementRule[],
      how ?? (known.rule.from === 'batch' ? 'free' : 'blocking'),
    ),
    history: known,
  };
}

/** The first choice that can't work here, alone or beside the others. */
function refusalOf(
  chosen: Choices,
  rules: Rules,
  defaults: Omit<Choices, 'slots'>,
  setting: PolicySetting,
): Refusal | null {
  const { placement: where, dispatch: who } = rules;
  return (
    uselessSlots(chosen, where) ??
    within('placement', where.rule.refusal(where.options, setting)) ??
    within('dispatch', who.rule.refusal(who.options, setting)) ??
    uselessHistory(chosen, rules, defaults) ??
    uselessMovement(chosen, rules, defaults) ??
    overlappingMovements(rules, setting)
  );
}

function uselessSlots({ slots }: Choices, { rule, options }: Rules['placement']): Refusal | null {
  if (slots === null || 'slots' in (options as object)) return null;
  return {
    option: 'slots',
    found: `${slots} with placement ${rule.kind}, which has no such option`,
    allowed: 'null, and the options of that placement',
  };
}

function within(choice: string, refusal: Refusal | null): Refusal | null {
  if (refusal === null) return null;
  return { ...refusal, option: refusal.option === '' ? choice : `${choice}.${refusal.option}` };
}

function uselessHistory(
  chosen: Choices,
  { placement: where, history: from }: Rules,
  defaults: Omit<Choices, 'slots'>,
): Refusal | null {
  if (where.rule.adapts || kindOf(chosen.history) === kindOf(defaults.history)) return null;
  const adaptive = placementRules.filter(({ adapts }) => adapts).map(({ kind }) => kind);
  return {
    option: 'history',
    found: `${from.rule.kind}, where placement ${where.rule.kind} looks at no loads`,
    allowed: `no history, or a placement that does: ${adaptive.join(', ')}`,
  };
}

function uselessMovement(chosen: Choices, rules: Rules, defaults: Omit<Choices, 'slots'>): Refusal | null {
  const { placement: where, movement: how, history: from } = rules;
  if (chosen.movement === null || chosen.movement === defaults.movement) return null;
  if (!where.rule.adapts || from.rule.from === 'calibration') {
    return {
      option: 'movement',
      found: `${how.rule.kind}, where nothing moves: placements are made once, before the run`,
      allowed: 'null, or history: window or decay',
    };
  }
  if (from.rule.from === 'batch' && !how.rule.free && how.rule.kind !== 'blocking') {
    return {
      option: 'movement',
      found: `${how.rule.kind}, where an oracle plans for the step itself`,
      allowed: 'free or blocking: the placement must be in force at once',
    };
  }
  return null;
}

/** A plan may not begin to move while the one before still does. */
function overlappingMovements(
  { placement: where, movement: how, history: from }: Rules,
  setting: PolicySetting,
): Refusal | null {
  const schedule = where.rule.adapts ? from.rule.schedule(from.options) : null;
  if (schedule === null) return null;
  const layers = Math.max(setting.moeLayers, setting.layers);
  const { force, beside } = how.rule.timing(how.options, layers - 1, layers);
  const steps = schedule.staleness + Math.max(force, beside);
  if (steps < schedule.interval || steps === 0) return null;
  return {
    option: 'history.interval',
    found: `${schedule.interval}, while a plan is in force everywhere only ${steps} steps after it is made`,
    allowed:
      `more than ${steps} (interval: ${steps + 1})` +
      (Math.max(force, beside) > 0 ? ', or more movement.layersPerStep' : ', or less history.staleness'),
  };
}

function notesOf(
  kind: string,
  { placement: where, movement: how, history: from }: Rules,
  { experts, layers, moeLayers }: PolicySetting,
): string[] {
  if (!where.rule.adapts) return [];
  if (from.rule.from === 'batch')
    return [
      `${kind} with history oracle: placements are planned for the loads of the very step; a limit, not a policy`,
    ];
  if (from.rule.from === 'calibration') return [];
  if (how.rule.free) return [`${kind} with movement free: weights move for nothing; a limit, not a policy`];
  const all = Math.max(moeLayers, layers);
  const milliseconds = 1e3 * all * planSecondsOfLayer(how.rule.planning!(how.options), experts, all);
  const planning = `${kind}, movement ${how.rule.kind}: planning all ${all} layers is assumed to take ${milliseconds.toFixed(1)} ms of the host`;
  if (!how.rule.background) {
    return [`${planning}, for which the step waits; a simulated layer carries its own share`];
  }
  return [
    `${planning}, beside the steps; history.staleness says how many steps later it is there`,
    `${kind}, movement async: the simulated layer carries its own movement in equal parts, one for every step that ` +
      'the model’s layers take together; kernels and copies do not slow each other',
  ];
}

function kindOf(choice: string | { kind: string }): string {
  return typeof choice === 'string' ? choice : choice.kind;
}
