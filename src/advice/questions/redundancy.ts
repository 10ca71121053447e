import type { PolicyInput } from '../../balancing/index.js';
import type { Result } from '../../simulation/index.js';
import { figuresOf, isTie, policyAt, speedupText } from '../figures.js';
import { Unanswerable, type Desk, type Offline, type Question } from '../question.js';

/** Redundant experts per GPU that are tried. */
const TRIED = [0, 1, 2, 4, 8];
/** A choice this much slower than the best is as good, and cheaper. */
const SLACK = 0.01;

/** EPLB with so many redundant experts on every GPU; with none, it only reorders. */
function eplb({ shape, gpus }: Desk, redundant: number, offline: Offline): PolicyInput {
  const placement =
    redundant === 0
      ? ({ kind: 'eplb', reorderOnly: true } as const)
      : ({ kind: 'eplb', slots: Math.ceil(shape.experts / gpus) * gpus + redundant * gpus } as const);
  return { kind: 'eplb', placement, history: offline };
}

function triedOn({ shape, gpus }: Desk): number[] {
  if (gpus === 1) throw new Unanswerable('there is one GPU: nothing to balance');
  return TRIED.filter((redundant) => shape.experts / gpus + redundant <= shape.experts);
}

/** The fewest redundant experts per GPU that are as fast as the best, chosen on what nothing is scored on. */
async function fewest(desk: Desk): Promise<{ redundant: number; command: string }> {
  const tried = triedOn(desk);
  const { result, command } = await desk.choose({
    policies: (offline) => ['ep', ...tried.map((redundant) => eplb(desk, redundant, offline))],
  });
  const seconds = tried.map((_, i) => policyAt(result, i + 1).stepLatency.mean);
  const best = Math.min(...seconds);
  return { redundant: tried[seconds.findIndex((own) => own <= best * (1 + SLACK))], command };
}

/** Scores reordering, every number of redundant experts, and plain EP. */
async function scored(desk: Desk): Promise<{ tried: number[]; result: Result; command: string }> {
  const tried = triedOn(desk);
  const { result, command } = await desk.score({
    policies: (offline) => ['ep', ...tried.map((redundant) => eplb(desk, redundant, offline))],
  });
  return { tried, result, command };
}

function cost({ shape, expertBytes, cacheBytesPerToken }: Desk, redundant: number) {
  const bytes = redundant * expertBytes * shape.moeLayers;
  return { bytes, kvTokens: cacheBytesPerToken === null ? null : bytes / cacheBytesPerToken };
}

function costText(desk: Desk, redundant: number): string {
  const { bytes, kvTokens } = cost(desk, redundant);
  const gib = `${(bytes / 2 ** 30).toFixed(2)} GiB per GPU over ${desk.shape.moeLayers} MoE layers`;
  return kvTokens === null
    ? `${gib} (KV-cache tokens: the model's shape has no attention to count them by)`
    : `${gib}, the KV cache of ${Math.round(kvTokens).toLocaleString('en')} tokens per GPU`;
}

export const redundancy: Question = {
  name: 'redundancy',
  asks: 'How many redundant experts, and what do they cost?',
  async answer(desk) {
    const { redundant, command: chosen } = await fewest(desk);
    const { tried, result, command } = await scored(desk);
    const own = policyAt(result, 1 + tried.indexOf(redundant));
    const next = tried[tried.indexOf(redundant) + 1] as number | undefined;
    const more =
      next === undefined
        ? ''
        : `; ${next} per GPU would be ${speedupText(policyAt(result, 1 + tried.indexOf(next)))} and cost ${costText(desk, next)}`;
    return {
      sentence:
        redundant === 0
          ? `None: EPLB that only reorders is ${speedupText(own)} as fast as ep, within 1 % of the best that was tried${more}.`
          : `${redundant} per GPU (${redundant * desk.gpus} in all): ${speedupText(own)} as fast as ep, for ${costText(desk, redundant)}; ` +
            `reordering alone would be ${speedupText(policyAt(result, 1))}${more}.`,
      rows: tried.map((count, i) => {
        const { bytes, kvTokens } = cost(desk, count);
        return {
          redundantPerGpu: count,
          ...figuresOf(policyAt(result, i + 1)),
          bytesPerGpu: bytes,
          ...(kvTokens === null ? {} : { kvTokensPerGpu: Math.round(kvTokens) }),
        };
      }),
      commands: [chosen, command],
    };
  },
};

export const reorderOrReplicate: Question = {
  name: 'reorder-or-replicate',
  asks: 'Reorder experts only, or replicate them?',
  async answer(desk) {
    const { redundant, command: chosen } = await fewest(desk);
    const replicas = Math.max(1, redundant);
    const { result, command } = await desk.score({
      policies: (offline) => ['ep', eplb(desk, 0, offline), eplb(desk, replicas, offline)],
    });
    const [, reorder, replicate] = result.policies;
    const ratio = reorder.stepLatency.mean / replicate.stepLatency.mean;
    const isTold = isTie(result, 1, 2) === false;
    const better = ratio > 1 && isTold ? 'Replicate' : 'Reorder only';
    const doubt = isTold ? '' : ', which the paired interval does not tell apart';
    return {
      sentence:
        `${better}: reordering alone is ${speedupText(reorder)} as fast as ep, with ${replicas} redundant per GPU it is ` +
        `${speedupText(replicate)}; replicas make the step ${ratio.toFixed(3)}× as fast as reordering does${doubt}, for ${costText(desk, replicas)}.`,
      rows: [
        { redundantPerGpu: 0, ...figuresOf(reorder) },
        { redundantPerGpu: replicas, ...figuresOf(replicate) },
      ],
      commands: [chosen, command],
    };
  },
};
