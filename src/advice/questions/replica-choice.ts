import { policyLabel, type PolicyInput } from '../../balancing/index.js';
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
    const best = seconds.indexOf(Math.min(...seconds));
    const { result, command } = await desk.score({ policies });
    const own = policyAt(result, best + 1);
    const all = rules.map((_, i) => policyAt(result, i + 1));
    const worst = all.reduce((a, b) => (b.stepLatency.mean > a.stepLatency.mean ? b : a));
    return {
      sentence:
        `${rules[best]}: EPLB with it is ${speedupText(own)} as fast as ep at γ ${own.imbalance.gpu.after.maxOverMean.toFixed(2)}; the slowest rule, ` +
        `${policyLabel(worst.policy)}, ${speedupText(worst)} at γ ${worst.imbalance.gpu.after.maxOverMean.toFixed(2)}. Rules that solve for each batch ` +
        'pay for exchanging its counts only where the runtime charges for that.',
      rows: all.map((policy, i) => ({ rule: rules[i], ...figuresOf(policy) })),
      commands: [chosen.command, command],
    };
  },
};
