import { figuresOf, policyAt, speedupText } from '../figures.js';
import { scoreInPhase } from '../phase.js';
import type { Question } from '../question.js';

/** Rules that share an expert's copies among its replicas, and what each balances. */
const RULES = [
  { dispatch: 'even', balances: 'tokens, shared evenly' },
  { dispatch: 'least-loaded', balances: 'tokens, to the least loaded' },
  { dispatch: 'fewest-active', balances: 'active experts' },
] as const;

export const decodeTarget: Question = {
  name: 'decode-target',
  asks: 'In decode: balance tokens, or active experts?',
  async answer(desk) {
    const { result, command, changed } = await scoreInPhase(desk, 'decode', (offline) => [
      'ep',
      ...RULES.map(({ dispatch }) => ({ kind: 'eplb', dispatch, history: offline }) as const),
    ]);
    const activeOf = (i: number) => result.balance!.policies[i + 1].activeInstances.largest;
    const figures = RULES.map(
      ({ balances }, i) =>
        `${balances} ${speedupText(policyAt(result, i + 1))} with up to ${activeOf(i).toFixed(1)} active experts on a GPU`,
    );
    return {
      sentence:
        `${verdict(result.fastest)}: at ${result.routing.tokensPerGpu} tokens per GPU${changed}, EPLB is, by what it balances, so many times as fast as ep: ` +
        `${figures.join('; ')}.`,
      rows: [
        {
          balances: 'nothing',
          ...figuresOf(policyAt(result, 0)),
          activeExperts: result.balance!.policies[0].activeInstances.largest,
        },
        ...RULES.map(({ balances }, i) => ({
          balances,
          ...figuresOf(policyAt(result, i + 1)),
          activeExperts: activeOf(i),
        })),
      ],
      commands: [command],
    };
  },
};

function verdict(fastest: { policy: number; ties: number[] } | null): string {
  if (fastest === null) return 'Neither fits';
  const { policy, ties } = fastest;
  const names = ['ep', ...RULES.map(({ balances }) => balances)];
  if (ties.length > 0) {
    return `Not to be told, ${names[policy]} is fastest but not beyond doubt faster than ${ties.map((i) => names[i]).join(' and ')}`;
  }
  if (policy === 0) return 'Neither, ep is fastest';
  return names[policy][0].toUpperCase() + names[policy].slice(1);
}
