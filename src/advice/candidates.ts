import { kindOf, policyOptions, type PolicyInput, type PolicyOptions } from '../balancing/index.js';
import type { Offline } from './question.js';

/**
 * The usual policies, and those of a scenario's that are no usual one: with other options, however small the
 * difference. One that differs only in the share that it calibrates on is the usual one, which has more to plan from.
 */
export function withListed(
  usual: readonly PolicyInput[],
  listed: readonly PolicyOptions[],
  offline: Offline,
): PolicyInput[] {
  const known = new Set(usual.map((policy) => keyOf(policy, offline)));
  return [...usual, ...listed.filter((policy) => !known.has(keyOf(policy, offline)))];
}

function keyOf(policy: PolicyInput, offline: Offline): string {
  const parsed = policyOptions(policy);
  if ('history' in parsed && kindOf(parsed.history) === 'calibration')
    return JSON.stringify({ ...parsed, history: offline });
  return JSON.stringify(parsed);
}
