import { z } from 'zod';
import { choiceSchema, chosenOf, kindOf } from '../choice.js';
import { dispatchRules } from '../dispatch/index.js';
import { sharedRules, WATERFILL, type SharedRule } from '../dispatch/shared-experts.js';
import type { DispatchRule } from '../dispatch/rule.js';
import type { HistoryRule } from '../history/estimator.js';
import { historyRules } from '../history/index.js';
import { movementRules } from '../movement/index.js';
import { planSecondsOfLayer, type MovementRule } from '../movement/rule.js';
import { placementRules } from '../placements/index.js';
import type { PlacementRule } from '../placements/rule.js';
import { plainTraits, type Policy, type PolicySetting, type Refusal } from '../policy.js';
import { decideLayer, siteOf, startLayers, type Rules, type State } from './placed-layers.js';

const placement = choiceSchema(placementRules);
const dispatch = choiceSchema(dispatchRules);
const movement = choiceSchema(movementRules);
const history = choiceSchema(historyRules);

/** The choices of a combination, as a scenario writes them. */
export interface Choices {
  placement: z.output<typeof placement>;
  dispatch: z.output<typeof dispatch>;
  /** Null: what the history says. */
  movement: z.output<typeof movement> | null;
  history: z.output<typeof history>;
  /** Slots of a layer, instead of what the placement says; null: that. */
  slots: number | null;
}

/** What a combination says of shared experts. */
export interface SharedChoice {
  sharedExperts: SharedRule;
}

type Options<Kind extends string> = Choices & SharedChoice & { kind: Kind };
type Input<Kind extends string> = { kind: Kind } & Partial<{
  placement: z.input<typeof placement>;
  dispatch: z.input<typeof dispatch>;
  movement: z.input<typeof movement> | null;
  history: z.input<typeof history>;
  sharedExperts: SharedRule;
  slots: number | null;
}>;

/**
 * A policy as free choices: which slots hold what, which slot computes a copy, how weights move to a new placement,
 * and what placements are planned from. Named policies are combinations with their own defaults; every one of their
 * choices can be overridden.
 * @param approximation of a published system: what was assumed of it
 */
export function combination<Kind extends string>(
  kind: Kind,
  summary: string,
  defaults: Omit<Choices, 'slots'>,
  approximation: string | null = null,
): Policy<Options<Kind>, State, Input<Kind>> {
  const options = z.strictObject({
    kind: z.literal(kind),
    placement: placement.default(defaults.placement).describe('Which slots hold which experts.'),
    dispatch: dispatch.default(defaults.dispatch).describe('Which instance of an expert computes a copy.'),
    movement: movement
      .nullable()
      .default(defaults.movement)
      .describe(
        'How weights move to a new placement; null: blocking, prefetch of what was predicted, free where an oracle plans.',
      ),
    history: history.default(defaults.history).describe('What placements are planned from, and when.'),
    slots: z
      .int()
      .min(1)
      .nullable()
      .default(null)
      .describe('Slots of a layer: short for those of the placement; null: what that says.'),
    sharedExperts: z
      .enum(sharedRules)
      .default('none')
      .describe(
        'Shared experts as part of the layer: none, computed by the GPU of their token, or sent to the GPUs with least to do.',
      ),
  });
  return {
    ...plainTraits,
    kind,
    summary,
    options: options,
    hypothetical(chosen) {
      const { placement: where, history: from, movement: how } = rulesOf(chosen);
      const known = from.rule.hypothetical(from.options);
      return where.rule.adapts && (known || (from.rule.from !== 'calibration' && how.rule.free));
    },
    sees(chosen) {
      const { placement: where, history: from } = rulesOf(chosen);
      if (!where.rule.adapts) return 'nothing';
      return from.rule.from === 'batch' ? 'batch' : 'history';
    },
    symmetric: false,
    plansEachBatch: (chosen) =>
      chosen.sharedExperts === 'waterfill' || rulesOf(chosen).dispatch.rule.plansEachBatch,
    planKernel(chosen) {
      const { rule } = rulesOf(chosen).dispatch;
      if (chosen.sharedExperts !== 'waterfill') return rule.planKernel;
      if (!rule.plansEachBatch) return WATERFILL;
      return (
        rule.planKernel && {
          seconds: rule.planKernel.seconds + WATERFILL.seconds,
          source: `${rule.planKernel.source}; ${WATERFILL.source}`,
        }
      );
    },
    holdsShared: ({ sharedExperts }) => sharedExperts !== 'none',
    movesInBackground: (chosen) => rulesOf(chosen).movement.rule.background,
    keepsStaging(chosen) {
      const { rule } = rulesOf(chosen).movement;
      return rule.background && !rule.ahead;
    },
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
    refusal: (chosen, setting) =>
      noSharedExperts(chosen, setting) ?? refusalOf(chosen, rulesOf(chosen), defaults, setting),
    trainingRefusal: ({ sharedExperts }) =>
      sharedExperts === 'none'
        ? null
        : {
            option: 'sharedExperts',
            found: sharedExperts,
            allowed: 'none in training, which does not simulate shared experts',
          },
    notes: (chosen, setting) => [
      ...(approximation === null ? [] : [`${kind}: approximation; ${approximation}`]),
      ...notesOf(kind, rulesOf(chosen), setting),
      ...placementNotes(rulesOf(chosen), setting),
      ...idleReplicas(kind, rulesOf(chosen), setting),
      ...sharedNotes(kind, chosen),
    ],
    start: (chosen, setting) => startLayers(rulesOf(chosen), setting, chosen.sharedExperts),
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
    movement: chosenOf(movementRules as unknown as readonly MovementRule[], how ?? known.rule.movement),
    history: known,
  };
}

function noSharedExperts(chosen: SharedChoice, { sharedExperts = 0 }: PolicySetting): Refusal | null {
  if (chosen.sharedExperts === 'none' || sharedExperts > 0) return null;
  return {
    option: 'sharedExperts',
    found: `${chosen.sharedExperts} for a model without shared experts`,
    allowed: 'none, or a model with shared experts (model.sharedExperts)',
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
    contradictingSlots(chosen, defaults) ??
    within('placement', where.rule.refusal(where.options, setting)) ??
    within('dispatch', who.rule.refusal(who.options, setting)) ??
    uselessHistory(chosen, rules, defaults) ??
    blindHistory(rules, setting) ??
    onlineHistory(rules) ??
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

/** What a placement says of slots by itself must not say something else than `slots` beside it. */
function contradictingSlots(
  { slots, placement: where }: Choices,
  defaults: Omit<Choices, 'slots'>,
): Refusal | null {
  if (slots === null || typeof where === 'string') return null;
  if (JSON.stringify(where) === JSON.stringify(defaults.placement)) return null;
  const { reorderOnly = false, slots: own = null } = where as {
    reorderOnly?: boolean;
    slots?: number | null;
  };
  if (!reorderOnly && (own === null || own === slots)) return null;
  return {
    option: 'slots',
    found: `${slots} beside placement.${reorderOnly ? 'reorderOnly' : `slots: ${own}`}`,
    allowed: 'one of them',
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

/** What a history leaves out must be told apart by the routing. */
function blindHistory(
  { history: { rule, options } }: Rules,
  { hasPhases, hasPadding }: PolicySetting,
): Refusal | null {
  const sight = rule.sight?.(options);
  if (sight && sight.phase !== 'all' && !hasPhases) {
    return {
      option: 'history.phase',
      found: `${sight.phase}, but the routing does not say which steps are which`,
      allowed: 'all, or a recording that tells phases apart',
    };
  }
  if (sight?.padding === 'left-out' && !hasPadding) {
    return {
      option: 'history.padding',
      found: 'left-out, but no padding that can be told apart is computed',
      allowed: 'counted, or a recording that marks padding, with workload.routing.padding: "include"',
    };
  }
  return null;
}

/** Rules that look at the tokens of the calibration can plan nothing new during the run. */
function onlineHistory({ placement: where, history: from }: Rules): Refusal | null {
  if (!where.rule.offline || from.rule.from === 'calibration') return null;
  return {
    option: 'history',
    found: `${from.rule.kind}, where placement ${where.rule.kind} is planned from tokens before the run`,
    allowed: 'calibration',
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
  const inTime = how.rule.free || how.rule.ahead || how.rule.kind === 'blocking';
  if (from.rule.from === 'batch' && !inTime) {
    return {
      option: 'movement',
      found: `${how.rule.kind}, where history ${from.rule.kind} plans for the step itself`,
      allowed: 'prefetch, blocking or free: the placement must be in force at once',
    };
  }
  if (from.rule.from === 'steps' && how.rule.ahead) {
    return {
      option: 'movement',
      found: `${how.rule.kind}, where history ${from.rule.kind} plans for steps to come`,
      allowed:
        'blocking, chunked or async, or history: predicted or oracle, which plan for the layer at hand',
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
  const steps = schedule.staleness + Math.max(force, how.rule.ahead ? 0 : beside);
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
  if (from.rule.from === 'calibration') return [];
  const note = from.rule.note(from.options);
  if (from.rule.from === 'batch') {
    const ahead = how.rule.ahead
      ? [
          `${kind}, movement prefetch: a layer carries its own weights beside it, where they travel beside the layer ` +
            'before; kernels and copies do not slow each other',
        ]
      : [];
    return [`${kind} with history ${from.rule.kind}: ${note}`, ...ahead];
  }
  if (how.rule.free) return [`${kind} with movement free: weights move for nothing; a limit, not a policy`];
  if (how.rule.planning === undefined) {
    return [
      `${kind}, movement ${how.rule.kind}: planning itself takes no time here; only the movement of weights does`,
    ];
  }
  const all = Math.max(moeLayers, layers);
  const milliseconds = 1e3 * all * planSecondsOfLayer(how.rule.planning(how.options), experts, all);
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

function placementNotes(rules: Rules, setting: PolicySetting): string[] {
  const { rule, options } = rules.placement;
  return rule.notes?.(options, siteOf(rules, setting)) ?? [];
}

/** Replicas cost memory, and a dispatch to homes gives them nothing to do. */
function idleReplicas(kind: string, rules: Rules, setting: PolicySetting): string[] {
  const { placement: where, dispatch: who } = rules;
  const spare = where.rule.slots(where.options, siteOf(rules, setting)) - setting.experts;
  if (spare <= 0 || who.rule.kind !== 'home') return [];
  return [
    `${kind}, dispatch home: the ${spare} slots beyond one per expert compute nothing; dispatch: "even" or "least-loaded" uses them`,
  ];
}

function sharedNotes(kind: string, { sharedExperts }: SharedChoice): string[] {
  if (sharedExperts === 'none') return [];
  return [
    `${kind}, sharedExperts ${sharedExperts}: the layer holds the shared experts among the routed ones; with none they are ` +
      "the runtime's, or left out: compare it with own-gpu",
  ];
}
