import { figuresOf, isTie, policyAt, speedupText } from '../figures.js';
import { scoreInPhase } from '../phase.js';
import type { Question } from '../question.js';

export const decodeTarget: Question = {
  name: 'decode-target',
  asks: 'In decode: balance tokens, or active experts?',
  async answer(desk) {
    const { result, command } = await scoreInPhase(desk, 'decode', (offline) => [
      'ep',
      { kind: 'eplb', dispatch: 'least-loaded', history: offline },
      { kind: 'eplb', dispatch: 'fewest-active', history: offline },
    ]);
    const [tokens, active] = [policyAt(result, 1), policyAt(result, 2)];
    const ratio = tokens.stepLatency.mean / active.stepLatency.mean;
    const doubt = isTie(result, 1, 2) === false ? '' : ' (not to be told apart by the paired interval)';
    const [byTokens, byActive] = [1, 2].map((i) => result.balance!.policies[i].activeInstances.largest);
    return {
      sentence:
        `${ratio > 1 ? 'Active experts' : 'Tokens'}${doubt}: at ${result.routing.tokensPerGpu} tokens per GPU, EPLB that balances tokens is ` +
        `${speedupText(tokens)} as fast as ep with up to ${byTokens.toFixed(1)} active experts on a GPU, one that keeps the fewest active ` +
        `${speedupText(active)} with ${byActive.toFixed(1)}: ${ratio.toFixed(2)}× as fast.`,
      rows: [
        { balances: 'tokens', ...figuresOf(tokens), activeExperts: byTokens },
        { balances: 'active experts', ...figuresOf(active), activeExperts: byActive },
      ],
      commands: [command],
    };
  },
};
