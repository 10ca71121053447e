import { policyLabel, type PolicyInput } from '../../balancing/index.js';
import type { Result } from '../../simulation/index.js';
import { figuresOf, policyAt, speedupText } from '../figures.js';
import type { Offline, Question } from '../question.js';

/** Rules that need nothing but counts; those that look at tokens are tried where there are any. */
const RULES = ['even', 'random', 'round-robin', 'nearest', 'lp'] as const;
const TOKEN_RULES = ['flat-position', 'token-hash'] as const;

export const replicaChoice: Question = {
  name: 'replica-choice',
  asks: 'Which rule should choose the replica of a copy?',
  async answer(desk) {
    const rules = [...RULES, ...(desk.routing === 'trace' ? TOKEN_RULES : [])];
    const policies = (offline: Offline): PolicyInput[] => [
      'ep',
      ...rules.map((dispatch): PolicyInput => ({ kind: 'eplb', dispatch, history: offline })),
    ];
    const chosen = await desk.choose({ policies });
    const seconds = rules.map((_, i) => policyAt(chosen.result, i + 1).stepLatency.mean);
    const best = seconds.indexOf(Math.min(...seconds)) + 1;
    const { result, command } = await desk.score({ policies });
    const own = policyAt(result, best);
    const all = rules.map((_, i) => policyAt(result, i + 1));
    const worst = all.reduce((a, b) => (b.stepLatency.mean > a.stepLatency.mean ? b : a));
    return {
      sentence:
        `${verdict(result.fastest, best, ['ep', ...rules])}: EPLB with ${rules[best - 1]} is ${speedupText(own)} as fast as ep at γ ${own.imbalance.gpu.after.maxOverMean.toFixed(2)}; the slowest rule, ` +
        `${policyLabel(worst.policy)}, ${speedupText(worst)} at γ ${worst.imbalance.gpu.after.maxOverMean.toFixed(2)}. Rules that solve for each batch ` +
        'pay for exchanging its counts only where the runtime charges for that.',
      rows: all.map((policy, i) => ({ rule: rules[i], ...figuresOf(policy) })),
      commands: [chosen.command, command],
    };
  },
};

/** @param chosen the rule's place among the names, which are those of the policies */
function verdict(fastest: Result['fastest'], chosen: number, names: readonly string[]): string {
  const own = names[chosen];
  if (fastest === null) return `${own}, but none fits`;
  const { policy, ties } = fastest;
  if (policy !== chosen && !ties.includes(chosen)) {
    if (policy === 0) return 'None, ep is faster';
    return `None for sure, ${own} was fastest on the part to choose from and ${names[policy]} is on the other`;
  }
  const others = [policy, ...ties].filter((i) => i !== chosen);
  return others.length === 0
    ? own
    : `Tie, ${own} was chosen on the other part but can't be told from ${others.map((i) => names[i]).join(', ')}`;
}
