import { policyLabel } from '../balancing/index.js';
import type { PolicyResult, Result } from '../simulation/index.js';

/** A factor with its 90 % interval. */
export interface Interval {
  mean: number;
  low: number;
  high: number;
}

/** "1.12× [1.05, 1.31]". */
export function ratioText({ mean, low, high }: Interval): string {
  return low === high ? `${mean.toFixed(2)}×` : `${mean.toFixed(2)}× [${low.toFixed(2)}, ${high.toFixed(2)}]`;
}

/** The speed-up over ep with its interval. */
export function speedupText({ speedup }: PolicyResult): string {
  return ratioText(speedup);
}

/** Whether the interval of a speed-up leaves no doubt: faster, slower, or not to be told. */
export function isSure({ speedup: { low, high } }: PolicyResult): 'faster' | 'slower' | 'unsure' {
  if (low > 1) return 'faster';
  return high < 1 ? 'slower' : 'unsure';
}

/** The result at a policy's place in the list. */
export function policyAt({ policies }: Result, index: number): PolicyResult {
  return policies[index];
}

export function findPolicy({ policies }: Result, kind: string): PolicyResult {
  return policies.find(({ policy }) => policy.kind === kind)!;
}

/** Forced balance must save this much of the time for a share of it to say something. */
const WORTH_SHARING = 0.05;

/** Share of the time that forced balance saves that a policy saves; null where there is next to nothing to save. */
export function shareOfCeiling(result: Result, policy: PolicyResult): number | null {
  const saved = 1 - 1 / findPolicy(result, 'balanced').speedup.mean;
  return saved < WORTH_SHARING ? null : (1 - 1 / policy.speedup.mean) / saved;
}

/** Figures of a policy that most answers show, seconds and bytes. */
export function figuresOf(policy: PolicyResult): Record<string, string | number> {
  return {
    policy: policyLabel(policy.policy),
    stepSeconds: policy.stepLatency.mean,
    speedup: policy.speedup.mean,
    low: policy.speedup.low,
    high: policy.speedup.high,
    gamma: policy.imbalance.gpu.after.maxOverMean,
  };
}

/** 0.123 → "12.3 %". */
export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** 2.5e9 → "2.33 GiB". */
export function formatGib(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(2)} GiB`;
}

/** Whether two policies of a run can be told apart, as far as one of them is the fastest; null where neither is. */
export function isTie({ fastest }: Result, a: number, b: number): boolean | null {
  if (fastest === null || (fastest.policy !== a && fastest.policy !== b)) return null;
  return fastest.ties.includes(fastest.policy === a ? b : a);
}

/** Which of two policies of a run the paired interval shows to be faster, as far as one of them is the fastest; null: neither. */
export function fasterOf(result: Result, a: number, b: number): number | null {
  return isTie(result, a, b) === false ? result.fastest!.policy : null;
}

/** What a sentence adds to the ratio of two policies that can't be told apart; nothing where they can. */
export function doubtOf(result: Result, a: number, b: number): string {
  switch (isTie(result, a, b)) {
    case true:
      return ', which the paired interval does not tell apart';
    case null:
      return result.fastest === null ? '' : ', and another is faster than both';
    default:
      return '';
  }
}
