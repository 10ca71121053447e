import { kindOf } from '../choice.js';
import type { z } from 'zod';
import type { PlanKernel, Policy } from '../policy.js';
import { balanced } from './balanced.js';
import { capacity } from './capacity.js';
import { megatron, sglangEngine, tensorrtLlmEngine, vllm, vllmAscendEngine } from './engines.js';
import { ep } from './ep.js';
import { fastermoeShadow } from './fastermoe-shadow.js';
import { feplb } from './feplb.js';
import { harmoeny } from './harmoeny.js';
import { laser } from './laser.js';
import { llep } from './llep.js';
import { moonep } from './moonep.js';
import { anyCombination, eplb, probe, roundRobinEp } from './named.js';
import { replicateAndQuantize } from './replicate-quantize.js';
import { ultraep } from './ultraep.js';

/** All policies, in the order in which they are listed. To add one, add its file here. */
export const policies = [
  ep,
  llep,
  replicateAndQuantize,
  capacity,
  laser,
  roundRobinEp,
  eplb,
  anyCombination,
  vllm,
  sglangEngine,
  tensorrtLlmEngine,
  vllmAscendEngine,
  megatron,
  ultraep,
  harmoeny,
  fastermoeShadow,
  feplb,
  moonep,
  probe,
  balanced,
] as const;

export type PolicyOptions = z.output<(typeof policies)[number]['options']>;
export type PolicyKind = PolicyOptions['kind'];
/** A policy as a user writes it: its name, or its options with `kind`. */
export type PolicyInput = PolicyKind | z.input<(typeof policies)[number]['options']>;

/** The policy of parsed options. */
export function policyOf({ kind }: PolicyOptions): Policy<PolicyOptions> {
  return policies.find((policy) => policy.kind === kind) as unknown as Policy<PolicyOptions>;
}

/** What of a policy decides which tasks a runtime launches for it. */
export interface PolicyTraits {
  plansEachBatch: boolean;
  /** The kernel that plans a batch in what is published of it; null: it plans on the host, or nobody knows. */
  planKernel: PlanKernel | null;
  movesWeights: boolean;
  movesInBackground: boolean;
}

/** The traits of parsed options. */
export function traitsOf(options: PolicyOptions): PolicyTraits {
  const policy = policyOf(options);
  return {
    plansEachBatch: policy.plansEachBatch(options),
    planKernel: policy.planKernel(options),
    movesWeights: policy.movesWeights(options),
    movesInBackground: policy.movesInBackground(options),
  };
}

/**
 * The same policy with placements planned for the loads of the very step, so that prediction error is told apart from
 * the limits of the placement; null where it plans from no history.
 */
export function oracleOf(options: PolicyOptions): PolicyOptions | null {
  if (!('history' in options) || policyOf(options).sees(options) !== 'history') return null;
  return { ...options, history: 'oracle', movement: null };
}

/**
 * The same placement planned once, from loads that are known before: what a map for an engine holds of a policy that
 * plans as steps go by. Which instance computes a copy is not in a map.
 */
export function plannedOnce(options: PolicyOptions): PolicyOptions {
  if (!('history' in options)) return options;
  const { history } = options;
  return {
    ...options,
    history: kindOf(history) === 'calibration' ? history : 'calibration',
    movement: null,
    dispatch: 'even',
  };
}

/** Whether a policy shows a limit and is nothing to run. */
export function isYardstick(options: PolicyOptions): boolean {
  const policy = policyOf(options);
  return policy.anchor || policy.hypothetical(options);
}
