import { z } from 'zod';
import { shuffle } from '../random.js';
import { balanced } from './balanced.js';
import { drawOptions, type Generator, type GeneratorSetting, type LayerDraw } from './generator.js';
import { popularityDraw } from './popularity-draw.js';

const names = ['W0', 'W1', 'W2', 'W3', 'W4', 'W5', 'W6', 'W7'] as const;
type Name = (typeof names)[number];

const options = z.strictObject({
  kind: z.literal('workload'),
  name: z
    .enum(names)
    .describe(
      'W0 even, W1 a hot expert, W2 a hot GPU, W3 heat over an eighth of the experts, W4 ragged sources, W5 a source ' +
        'without tokens, W6 a hot expert that moves, W7 bursts.',
    ),
  share: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe(
      'Share of the copies that the hot experts get (W1, W2, W3, W6: default 0.5; W7: 0.8 in a burst).',
    ),
  experts: z
    .int()
    .min(1)
    .optional()
    .describe('Hot experts (W1, W6: default 1; W3: an eighth of the experts; W7: topK).'),
  period: z
    .int()
    .min(1)
    .optional()
    .describe('Steps until the hot expert moves (W6: default 4), or from burst to burst (W7: default 8).'),
  ragged: z
    .number()
    .min(1)
    .max(100)
    .optional()
    .describe(
      'Tokens of the first source GPU over those of the last (W4: default 2); the mean is tokensPerGpu.',
    ),
  ...drawOptions,
});

type Options = z.infer<typeof options>;

/** Which parameters a workload has; the others are refused. */
const parameters: Readonly<Record<Name, readonly ('share' | 'experts' | 'period' | 'ragged')[]>> = {
  W0: [],
  W1: ['share', 'experts'],
  W2: ['share'],
  W3: ['share', 'experts'],
  W4: ['ragged'],
  W5: [],
  W6: ['share', 'experts', 'period'],
  W7: ['share', 'experts', 'period'],
};

const DEFAULT_SHARE = 0.5;
const BURST_SHARE = 0.8;
const MOVE_EVERY = 4;
const BURST_EVERY = 8;
const RAGGED = 2;

/**
 * The imbalance workloads W0 to W7 that NVIDIA/Megatron-LM's pull request 7488 names, with parameters of our own,
 * since it publishes none. Routing that is not hot is a uniform router's, with its chance; W0 alone is exactly even.
 */
export const workload: Generator<Options> = {
  kind: 'workload',
  summary: 'the named imbalance workloads W0 to W7: hot experts or GPUs, ragged sources, moving heat, bursts',
  options,
  notes(chosen, setting, steps) {
    const { share, hot } = heatOf(chosen, setting);
    const capped = Math.min(share, hot / setting.topK);
    const notes = shortRunNotes(chosen, steps);
    if (capped < share) {
      notes.push(
        `workload ${chosen.name}: share capped at ${hot} hot / top ${setting.topK} = ${capped}, since a token picks an expert once`,
      );
    }
    return notes;
  },
  tokensBySource({ name, ragged = RAGGED }, { gpus, tokensPerGpu }) {
    if (name === 'W4') return raggedTokens(gpus, tokensPerGpu, ragged);
    if (name !== 'W5') return null;
    if (gpus === 1) throw new RangeError('name: found W5 on one GPU, allowed: at least 2 GPUs');
    // The last one: the first is where contiguous placements put what is hot.
    return Int32Array.from({ length: gpus }, (_, gpu) => (gpu === gpus - 1 ? 0 : tokensPerGpu));
  },
  prepare(chosen, setting) {
    const { name } = chosen;
    for (const parameter of ['share', 'experts', 'period', 'ragged'] as const) {
      if (chosen[parameter] === undefined || parameters[name].includes(parameter)) continue;
      const allowed = parameters[name].join(', ') || 'no parameter';
      throw new RangeError(`${parameter}: found ${chosen[parameter]} for ${name}, allowed: ${allowed}`);
    }
    if (name === 'W0')
      return balanced.prepare({ kind: 'balanced', tokens: false, gateWeights: false }, setting);
    return heatDraw(chosen, setting);
  },
};

/** Says it where a run ends before anything of its workload happens. */
function shortRunNotes({ name, period }: Options, steps: number): string[] {
  const moveEvery = period ?? MOVE_EVERY;
  const burstEvery = period ?? BURST_EVERY;
  if (name === 'W6' && steps <= moveEvery)
    return [`workload W6: the hot expert moves every ${moveEvery} steps: in a run of ${steps} it never does`];
  if (name === 'W7' && steps < burstEvery)
    return [`workload W7: every ${burstEvery}th step is a burst: a run of ${steps} has none`];
  return [];
}

function heatOf(
  { name, share, experts }: Options,
  setting: GeneratorSetting,
): { share: number; hot: number } {
  const perGpu = Math.max(1, Math.floor(setting.experts / setting.gpus));
  switch (name) {
    case 'W1':
    case 'W6':
      return { share: share ?? DEFAULT_SHARE, hot: experts ?? 1 };
    case 'W2':
      return { share: share ?? DEFAULT_SHARE, hot: perGpu };
    case 'W3':
      return { share: share ?? DEFAULT_SHARE, hot: experts ?? Math.max(1, Math.floor(setting.experts / 8)) };
    case 'W7':
      return { share: share ?? BURST_SHARE, hot: experts ?? setting.topK };
    default:
      return { share: 0, hot: 1 };
  }
}

/** A uniform router, but for a group of hot experts that the step decides about. */
function heatDraw(chosen: Options, setting: GeneratorSetting): LayerDraw {
  const { name, period = name === 'W6' ? MOVE_EVERY : BURST_EVERY } = chosen;
  const { experts, topK } = setting;
  const { share, hot } = heatOf(chosen, setting);
  if (share > 0 && hot >= experts) {
    throw new RangeError(`experts: found ${hot} hot experts, allowed: fewer than the model's ${experts}`);
  }
  const capped = Math.min(share, hot / topK);
  const order = new Int32Array(experts);
  return popularityDraw(setting, false, (popularity, random, step) => {
    popularity.fill(1);
    if (share === 0 || (name === 'W7' && step % period !== period - 1)) return;
    for (let e = 0; e < experts; e++) order[e] = e;
    let first = 0;
    if (name === 'W2') {
      // One GPU's experts, whichever that is: the groups of a contiguous placement.
      first = hot * Math.floor(random() * Math.floor(experts / hot));
    } else {
      shuffle(order, random);
      // A move takes the next experts of the same order, so that no two moves in turn take the same one.
      if (name === 'W6') first = hot * Math.floor(step / period);
    }
    popularity.fill((1 - capped) / (experts - hot));
    for (let i = 0; i < hot; i++) popularity[order[(first + i) % experts]] = capped / hot;
  });
}

/** Tokens that fall evenly from the first GPU to the last, with the given mean (largest remainders rounded up). */
function raggedTokens(gpus: number, tokensPerGpu: number, ratio: number): Int32Array {
  const exact = Array.from({ length: gpus }, (_, gpu) => {
    const weight = gpus === 1 ? 1 : ratio - ((ratio - 1) * gpu) / (gpus - 1);
    return gpus === 1 ? tokensPerGpu : (weight * 2 * tokensPerGpu) / (ratio + 1);
  });
  const tokens = Int32Array.from(exact, Math.floor);
  let missing = gpus * tokensPerGpu - tokens.reduce((sum, n) => sum + n, 0);
  const byRemainder = [...exact.keys()].sort((a, b) => (exact[b] % 1) - (exact[a] % 1) || a - b);
  for (const gpu of byRemainder) if (missing-- > 0) tokens[gpu]++;
  return tokens;
}
