import { figuresOf, findPolicy } from '../figures.js';
import type { Desk, Question } from '../question.js';

/** What a step of the whole model looks back at, where the scenario does not say. */
const ASSUMED = { promptTokens: 4096, cachedTokensPerSequence: 4096 } as const;

function assumed({ scope, phase, tokensPerGpu }: Desk): Record<string, unknown> {
  if (scope === 'model') return {};
  return {
    scope: 'model',
    'workload.layer': 'all',
    ...(phase === 'prefill'
      ? { 'workload.promptTokens': ASSUMED.promptTokens }
      : { 'workload.kvTokens': tokensPerGpu * ASSUMED.cachedTokensPerSequence }),
  };
}

/** Share of a step that a GPU waits for others below which they count as even. */
const EVEN = 0.01;

export const expertsOrAttention: Question = {
  name: 'experts-or-attention',
  asks: 'Do I suffer from experts or from attention?',
  async answer(desk) {
    const { result, command } = await desk.score({ set: assumed(desk), policies: () => ['ep'] });
    const ep = findPolicy(result, 'ep');
    const { critical, waiting, waitingFor } = ep.time;
    const share = (...phases: (keyof typeof critical)[]) =>
      phases.reduce((sum, phase) => sum + (critical[phase] ?? 0), 0) / ep.stepLatency.mean;
    const experts = share('experts');
    const attention = share('attention', 'dense', 'shared', 'head');
    const exchange = share('dispatch', 'combine');
    const percent = (part: number) => `${(100 * part).toFixed(1)} %`;
    const late = (of: 'experts' | 'source') => (waitingFor?.[of] ?? 0) / ep.stepLatency.mean;
    const larger = experts > attention ? 'experts' : 'attention and dense parts';
    const more =
      Math.max(late('experts'), late('source')) < EVEN
        ? `Neither is uneven; ${larger} take most`
        : late('experts') > late('source')
          ? 'Experts'
          : 'Attention and dense parts';
    const lookBack =
      desk.scope === 'model'
        ? ''
        : ` (assumed: ${desk.phase === 'prefill' ? `prompts of ${ASSUMED.promptTokens} tokens` : `${ASSUMED.cachedTokensPerSequence} cached tokens per sequence, the same on every GPU`})`;
    return {
      sentence:
        `${more}: of a step of the whole model${lookBack}, experts take ${percent(experts)}, exchanges ${percent(exchange)}, attention, dense ` +
        `parts and head ${percent(attention)}; a GPU waits ${percent(waiting / ep.stepLatency.mean)} of it for others, ` +
        `${percent(late('experts'))} for those late by experts and ${percent(late('source'))} for those late by their own tokens.`,
      rows: [
        {
          ...figuresOf(ep),
          experts,
          exchanges: exchange,
          attentionAndDense: attention,
          waiting: waiting / ep.stepLatency.mean,
        },
      ],
      commands: [command],
    };
  },
};
