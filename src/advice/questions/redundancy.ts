import type { PolicyInput } from '../../balancing/index.js';
import type { PolicyResult } from '../../simulation/index.js';
import { doubtOf, fasterOf, figuresOf, policyAt, speedupText } from '../figures.js';
import { costOf, costText, type Cost } from '../memory.js';
import { Unanswerable, type Desk, type Offline, type Question, type Variant } from '../question.js';

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

function everyNumber(desk: Desk, tried: readonly number[]): Variant['policies'] {
  return (offline) => ['ep', ...tried.map((redundant) => eplb(desk, redundant, offline))];
}

/** The fewest redundant experts per GPU that are within the slack of the best, chosen on what nothing is scored on. */
async function fewest(desk: Desk): Promise<{ redundant: number; command: string }> {
  const tried = triedOn(desk);
  const { result, command } = await desk.choose({ policies: everyNumber(desk, tried) });
  const seconds = tried.map((_, i) => policyAt(result, i + 1).stepLatency.mean);
  const best = Math.min(...seconds);
  return { redundant: tried[seconds.findIndex((own) => own <= best * (1 + SLACK))], command };
}

/** So many redundant experts beside reordering alone; what both answers go by, so that they agree. */
interface Pair {
  replicas: number;
  reorder: PolicyResult;
  replicate: PolicyResult;
  isWorthIt: boolean;
  /** How replicas compare with reordering. */
  compared: string;
  cost: Cost;
  commands: string[];
}

/** Weighs the chosen number, or the smallest where none was chosen, on what nothing was chosen from. */
async function weigh(desk: Desk): Promise<Pair> {
  const { redundant, command: chosen } = await fewest(desk);
  const replicas = Math.max(1, redundant);
  const { result, command } = await desk.score({
    policies: (offline) => ['ep', eplb(desk, 0, offline), eplb(desk, replicas, offline)],
  });
  const [, reorder, replicate] = result.policies;
  const ratio = reorder.stepLatency.mean / replicate.stepLatency.mean;
  const isFaster = fasterOf(result, 1, 2) === 2;
  const doubt = isFaster ? (ratio < 1 + SLACK ? ', less than is worth memory' : '') : doubtOf(result, 1, 2);
  return {
    replicas,
    reorder,
    replicate,
    isWorthIt: isFaster && ratio >= 1 + SLACK,
    compared: `${ratio.toFixed(3)}× as fast as reordering does${doubt}`,
    cost: costOf(desk, replicas, replicate, reorder),
    commands: [chosen, command],
  };
}

export const redundancy: Question = {
  name: 'redundancy',
  asks: 'How many redundant experts, and what do they cost?',
  async answer(desk) {
    const { replicas, isWorthIt, compared, commands } = await weigh(desk);
    const tried = triedOn(desk);
    const { result, command } = await desk.score({ policies: everyNumber(desk, tried) });
    const resultOf = (count: number) => policyAt(result, 1 + tried.indexOf(count));
    const reordered = resultOf(0);
    const cost = (count: number) => costOf(desk, count, resultOf(count), reordered);
    const speed = (count: number) => speedupText(resultOf(count));
    const next = tried[tried.indexOf(replicas) + 1] as number | undefined;
    const more =
      next === undefined
        ? ''
        : `; ${next} per GPU would be ${speed(next)} and cost ${costText(cost(next), desk)}`;
    return {
      sentence: isWorthIt
        ? `${replicas} per GPU (${replicas * desk.gpus} in all): ${speed(replicas)} as fast as ep, for ${costText(cost(replicas), desk)}; ` +
          `reordering alone would be ${speed(0)}${more}.`
        : `None: EPLB that only reorders is ${speed(0)} as fast as ep, and ${replicas} per GPU make the step ${compared}, ` +
          `for ${costText(cost(replicas), desk)}${more}.`,
      rows: tried.map((count) => {
        const { weights, buffers, bytes, kvTokens, fits } = cost(count);
        return {
          redundantPerGpu: count,
          ...figuresOf(resultOf(count)),
          replicaBytesPerGpu: weights,
          moreBufferBytesPerGpu: buffers,
          bytesPerGpu: bytes,
          ...(kvTokens === null ? {} : { kvTokensPerGpu: kvTokens }),
          fits: fits ? 'yes' : 'no',
        };
      }),
      commands: [...commands, command],
    };
  },
};

export const reorderOrReplicate: Question = {
  name: 'reorder-or-replicate',
  asks: 'Reorder experts only, or replicate them?',
  async answer(desk) {
    const { replicas, reorder, replicate, isWorthIt, compared, cost, commands } = await weigh(desk);
    return {
      sentence:
        `${isWorthIt ? 'Replicate' : 'Reorder only'}: reordering alone is ${speedupText(reorder)} as fast as ep, with ${replicas} redundant per GPU it is ` +
        `${speedupText(replicate)}; replicas make the step ${compared}, for ${costText(cost, desk)}.`,
      rows: [
        { redundantPerGpu: 0, ...figuresOf(reorder) },
        { redundantPerGpu: replicas, ...figuresOf(replicate) },
      ],
      commands,
    };
  },
};
