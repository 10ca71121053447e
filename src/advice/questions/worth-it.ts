import { policyLabel, type PolicyInput } from '../../balancing/index.js';
import type { PolicyResult } from '../../simulation/index.js';
import { withListed } from '../candidates.js';
import { figuresOf, findPolicy, isSure, percent, shareOfCeiling, speedupText } from '../figures.js';
import { scoreInPhase } from '../phase.js';
import type { Answer, Offline, Question } from '../question.js';

function worthIt(phase: 'prefill' | 'decode'): Question {
  return {
    name: `worth-it-${phase}`,
    asks: `Is balancing worth it in ${phase}?`,
    async answer(desk): Promise<Answer> {
      const policies = (offline: Offline): PolicyInput[] =>
        withListed(['ep', 'llep', { kind: 'eplb', history: offline }], desk.listed, offline);
      const { result, command, changed } = await scoreInPhase(desk, phase, policies);
      const balanced = findPolicy(result, 'balanced');
      const tried = result.policies.filter(
        ({ anchor, policy, exact }) => !anchor && policy.kind !== 'ep' && exact,
      );
      const best = tried.reduce((a, b) => (b.speedup.mean > a.speedup.mean ? b : a));
      const wasted = result.balance!.before.gpu.steps.wastedShare;
      const size = `${result.routing.tokensPerGpu} tokens per GPU${changed}`;
      const ceiling =
        `the ceiling, 1 − Σ mean / Σ max of the GPUs' copies, is ${percent(wasted)}, and forced balance would be ` +
        `${speedupText(balanced)} as fast as ep`;
      return {
        sentence: `${verdict(best)} at ${size}: ${ceiling}; the best exact policy is ${policyLabel(best.policy)} with ${speedupText(best)}${part(shareOfCeiling(result, best))}.`,
        rows: [findPolicy(result, 'ep'), ...tried, balanced].map((policy) => ({
          ...figuresOf(policy),
          shareOfCeiling: shareOfCeiling(result, policy),
        })),
        commands: [command],
      };
    },
  };
}

function verdict(best: PolicyResult): string {
  switch (isSure(best)) {
    case 'faster':
      return 'Yes';
    case 'slower':
      return 'No';
    default:
      return 'Not beyond doubt';
  }
}

function part(share: number | null): string {
  return share === null || share < 0 ? '' : `, ${percent(share)} of the time that forced balance would save`;
}

export const worthItInPrefill = worthIt('prefill');
export const worthItInDecode = worthIt('decode');
