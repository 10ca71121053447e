import { SOURCE_OF_PHASE, type Phase, type TimeSource } from '../../execution/index.js';
import { figuresOf, findPolicy, percent } from '../figures.js';
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

/** What takes time in a step of inference, and the phases' sources that count as it. */
const PARTS = {
  experts: { name: 'experts', sources: ['experts'] },
  attentionAndDense: { name: 'attention, dense parts and head', sources: ['attention and dense'] },
  exchanges: { name: 'exchanges', sources: ['network'] },
  routingAndCopying: { name: 'routing and copying', sources: ['copies'] },
  host: { name: 'the host', sources: ['host'] },
  newPlacements: { name: 'new placements', sources: ['movement', 'planning'] },
} as const satisfies Record<string, { name: string; sources: readonly TimeSource[] }>;

type Part = keyof typeof PARTS;

const parts = Object.keys(PARTS) as Part[];

/** Shares below this are left out of the sentence; they would print as 0.0 %. */
const PRINTED = 0.0005;

/** Shares of a step that its parts have on the critical path; they sum to 1. */
function sharesOf(critical: Partial<Record<Phase, number>>, seconds: number): Record<Part, number> {
  const share = (sources: readonly TimeSource[]) =>
    (Object.entries(critical) as [Phase, number][])
      .filter(([phase]) => sources.includes(SOURCE_OF_PHASE[phase]))
      .reduce((sum, [, own]) => sum + own, 0) / seconds;
  return Object.fromEntries(parts.map((part) => [part, share(PARTS[part].sources)])) as Record<Part, number>;
}

function verdict(largest: Part): string {
  if (largest === 'experts') return 'Experts';
  return largest === 'attentionAndDense'
    ? 'Attention and dense parts'
    : `Neither, but ${PARTS[largest].name}`;
}

export const expertsOrAttention: Question = {
  name: 'experts-or-attention',
  asks: 'Do I suffer from experts or from attention?',
  async answer(desk) {
    const { result, command } = await desk.score({ set: assumed(desk), policies: () => ['ep'] });
    const ep = findPolicy(result, 'ep');
    const { critical, waiting, waitingFor } = ep.time;
    const seconds = ep.stepLatency.mean;
    const shares = sharesOf(critical, seconds);
    const falling = [...parts].sort((a, b) => shares[b] - shares[a]);
    const printed = falling.filter((part) => shares[part] >= PRINTED);
    const late = (of: 'experts' | 'source') => (waitingFor?.[of] ?? 0) / seconds;
    const take = falling[0] === 'host' ? 'takes' : 'take';
    const lookBack =
      desk.scope === 'model'
        ? ''
        : ` (assumed: ${desk.phase === 'prefill' ? `prompts of ${ASSUMED.promptTokens} tokens` : `${ASSUMED.cachedTokensPerSequence} cached tokens per sequence, the same on every GPU`})`;
    return {
      sentence:
        `${verdict(falling[0])}: of a step of the whole model${lookBack}, ` +
        `${printed.map((part, i) => `${PARTS[part].name} ${i === 0 ? `${take} ` : ''}${percent(shares[part])}`).join(', ')}; ` +
        `a GPU waits ${percent(waiting / seconds)} of it for others, ` +
        `${percent(late('experts'))} for those late by experts and ${percent(late('source'))} for those late by their own tokens.`,
      rows: [{ ...figuresOf(ep), ...shares, waiting: waiting / seconds }],
      commands: [command],
    };
  },
};
