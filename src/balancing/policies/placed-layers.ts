import type { Chosen } from '../choice.js';
import type { Dispatcher, DispatchRule } from '../dispatch/rule.js';
import { SharedDispatch, type SharedRule } from '../dispatch/shared-experts.js';
import {
  seenLoads,
  type Estimator,
  type HistoryRule,
  type LoadHistory,
  type Schedule,
  type Sight,
} from '../history/estimator.js';
import { alignSlots } from '../movement/align-slots.js';
import { changedSlots } from '../movement/changed-slots.js';
import { planSecondsOfLayer, type MovementRule } from '../movement/rule.js';
import { instancesOn, type Placement } from '../placement.js';
import { repeated } from '../placements/contiguous-slots.js';
import type { PlacementRule, PlacementSite, Placer } from '../placements/rule.js';
import { homePlan, SlotCopies, type LayerPlan, type PlacementMove, type Planning } from '../plan.js';
import type { LayerView, PolicySetting } from '../policy.js';

/** The rules behind a combination's choices. */
export interface Rules {
  placement: Chosen<PlacementRule>;
  dispatch: Chosen<DispatchRule>;
  movement: Chosen<MovementRule>;
  history: Chosen<HistoryRule>;
}

/** A placement that is planned and not in force, or whose weights still travel; in steps of the run. */
interface Coming {
  placement: Placement;
  move: PlacementMove | null;
  /** Step in which weights begin to move, in which the placement comes into force, and after the last move. */
  begin: number;
  force: number;
  until: number;
}

interface LayerState {
  placement: Placement;
  plan: LayerPlan;
  coming: Coming | null;
  /** Of a placement that was planned and that no plan has told of yet. */
  planning: Planning | null;
}

/** A combination at work: the placements of all layers, what is known of their loads, and what is on its way. */
export interface State {
  rules: Rules;
  setting: PolicySetting;
  placer: Placer;
  dispatcher: Dispatcher;
  schedule: Schedule | null;
  estimators: Estimator[];
  slotCopies: SlotCopies;
  shared: SharedDispatch | null;
  layers: LayerState[];
  /** Step of the last plan of all layers. */
  plannedAt: number;
  sight: Sight | null;
  /** Whether any layer's loads were seen. */
  hasSeen: boolean;
  /** Loads without padding. */
  seen: Float64Array;
}

export function startLayers(rules: Rules, setting: PolicySetting, shared: SharedRule = 'none'): State {
  const { placement, dispatch, history } = rules;
  const slotCopies = new SlotCopies(setting.gpus);
  const placer = placement.rule.start(placement.options, siteOf(rules, setting));
  const adapts = placement.rule.adapts;
  const state: State = {
    rules,
    setting,
    placer,
    dispatcher: dispatch.rule.start(dispatch.options, setting),
    schedule: adapts ? history.rule.schedule(history.options) : null,
    estimators: adapts ? history.rule.start(history.options, setting) : [],
    slotCopies,
    shared: shared === 'none' ? null : new SharedDispatch(shared, setting.gpus, setting.sharedExperts!),
    layers: [],
    plannedAt: -1,
    sight: history.rule.sight?.(history.options) ?? null,
    hasSeen: false,
    seen: new Float64Array(setting.experts),
  };
  state.layers = firstPlacements(state).map((own, layer) => ({
    placement: own,
    plan: planOn(own, slotCopies, setting),
    coming: null,
    planning:
      adapts && state.schedule === null
        ? { seconds: 0, stalls: false, expected: 1 / utilisation(own, state.estimators[layer].known().sum) }
        : null,
  }));
  return state;
}

/** What a placement rule knows, the part of the recording that its history sets aside included. */
export function siteOf({ history }: Rules, setting: PolicySetting): PlacementSite {
  return { ...setting, calibrationShare: history.rule.calibrationShare(history.options) };
}

/** What is in force before any step: planned already, or experts in order with the same number of slots. */
function firstPlacements({ rules, setting, placer, schedule, estimators }: State): Placement[] {
  const { rule, options } = rules.placement;
  const slots = rule.slots(options, setting);
  const inOrder =
    rule.initial?.(options, setting) ??
    (slots === setting.experts ? setting.placement : repeated(slots, setting));
  const current = new Array<Placement>(setting.layers).fill(inOrder);
  if (schedule !== null) return current;
  const nothing: LoadHistory = { sum: new Float64Array(setting.experts), rows: [] };
  const known = current.map((_, layer) => (rule.adapts ? estimators[layer].known() : nothing));
  return placer.place(known, current).map((placed) => placed ?? inOrder);
}

/** Where every expert is where standard EP has it, and once, there is nothing to dispatch. */
function planOn(own: Placement, slotCopies: SlotCopies, { placement: standard }: PolicySetting): LayerPlan {
  const plain =
    own === standard ||
    (own.slotExpert.length === standard.slotExpert.length &&
      own.slotExpert.every((expert, slot) => expert === standard.slotExpert[slot]));
  return { ...homePlan(plain ? standard : own), slotCopies: plain ? null : slotCopies };
}

/** One layer of one step: plan if it is time to, bring what has come into force, divide the copies. */
export function decideLayer(state: State, view: LayerView): { state: State; plan: LayerPlan } {
  const { rules, schedule, estimators, setting } = state;
  const own = state.layers[view.layer];
  if (schedule !== null) {
    if (rules.history.rule.from === 'batch') {
      if (view.step % schedule.interval === 0) {
        estimators[view.layer].add(view.loads);
        planLayers(state, [view.layer], view.step);
      }
    } else if (state.plannedAt !== view.step && isTime(schedule, view.step)) {
      state.plannedAt = view.step;
      if (state.hasSeen && !isBalanced(state, schedule))
        planLayers(state, [...state.layers.keys()], view.step);
    }
  }
  takeOver(own, view.step, state.slotCopies, setting);
  const { plan } = own;
  plan.move = moveBefore(own, view.step);
  plan.background = moveBeside(own, view.step);
  plan.planning = own.planning;
  own.planning = null;
  if (plan.slotCopies) {
    state.dispatcher.divide(own.placement, view, plan.slotCopies.reset(own.placement.slotExpert.length));
  }
  if (state.shared) plan.shared = state.shared.divide(own.placement, view, plan.slotCopies);
  if (schedule !== null && rules.history.rule.from === 'steps') observe(state, view);
  return { state, plan };
}

function observe(state: State, view: LayerView): void {
  const loads = state.sight === null ? view.loads : seenLoads(state.sight, view, state.seen);
  if (loads === null) return;
  state.estimators[view.layer].add(loads);
  state.hasSeen = true;
}

function isTime({ first, interval }: Schedule, step: number): boolean {
  return step >= first && (step - first) % interval === 0;
}

/** Whether GPUs are used well enough under the placements in force: mean/max load, averaged over layers. */
function isBalanced({ layers, estimators }: State, { skipAbove }: Schedule): boolean {
  if (skipAbove === null) return false;
  const used = layers.map(({ placement }, layer) => utilisation(placement, estimators[layer].known().sum));
  return used.reduce((sum, share) => sum + share, 0) / used.length > skipAbove;
}

function utilisation(placement: Placement, loads: Float64Array): number {
  const gpuLoads = new Float64Array(placement.gpus);
  placement.slotExpert.forEach((expert, slot) => {
    gpuLoads[placement.slotGpu[slot]] += loads[expert] / instancesOn(placement, expert);
  });
  const most = gpuLoads.reduce((a, b) => Math.max(a, b), 0);
  return most === 0 ? 1 : gpuLoads.reduce((a, b) => a + b, 0) / placement.gpus / most;
}

function planLayers(
  { rules, setting, placer, estimators, layers, schedule }: State,
  which: number[],
  step: number,
): void {
  const { rule, options } = rules.movement;
  const modelLayers = Math.max(setting.moeLayers, setting.layers);
  const seconds = planSecondsOfEachLayer(rules, setting.experts, modelLayers);
  const { from, alignSlots: aligned } = rule.source(options);
  const placed = placer.place(
    which.map((layer) => estimators[layer].known()),
    which.map((layer) => layers[layer].placement),
    which,
  );
  which.forEach((layer, i) => {
    const next = placed[i];
    const { placement: current } = layers[layer];
    const expected = 1 / utilisation(next ?? current, estimators[layer].known().sum);
    layers[layer].planning = { seconds, stalls: !rule.background, expected };
    if (next === null) return;
    const placement = aligned ? alignSlots(current, next) : next;
    const { force, beside } = rule.timing(
      options,
      Math.floor((layer * modelLayers) / setting.layers),
      modelLayers,
    );
    const begin = step + schedule!.staleness;
    layers[layer].coming = {
      placement,
      move: rule.free ? null : changedSlots(current, placement, from, setting.gpusPerNode),
      begin,
      force: begin + force,
      until: begin + beside,
    };
  });
}

/** Nobody plans for the loads of the very step: an oracle takes no time. */
function planSecondsOfEachLayer({ movement, history }: Rules, experts: number, modelLayers: number): number {
  const cost = movement.rule.planning?.(movement.options);
  return cost === undefined || history.rule.from === 'batch'
    ? 0
    : planSecondsOfLayer(cost, experts, modelLayers);
}

function takeOver(own: LayerState, step: number, slotCopies: SlotCopies, setting: PolicySetting): void {
  const { coming } = own;
  if (coming === null || step !== coming.force) return;
  own.placement = coming.placement;
  own.plan = planOn(coming.placement, slotCopies, setting);
}

function moveBefore({ coming }: LayerState, step: number): PlacementMove | null {
  if (coming === null || coming.until > coming.begin) return null;
  return step === coming.force ? coming.move : null;
}

function moveBeside({ coming }: LayerState, step: number): LayerPlan['background'] {
  if (coming?.move == null || step < coming.begin || step >= coming.until) return null;
  return { move: coming.move, share: 1 / (coming.until - coming.begin) };
}
