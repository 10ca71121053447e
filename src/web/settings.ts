import { bitsOf, gpuPresets, type Dtype } from '../hardware/index.js';
import { modelPresets } from '../model/index.js';
import { runtimes } from '../execution/index.js';

/** A number that a slider moves. */
export interface NumberSetting {
  key: NumberKey;
  label: string;
  /** What it is and does, in a sentence. */
  help: string;
  min: number;
  max: number;
  /** Least difference; `doubling`: powers of two. */
  step: number | 'doubling';
  initial: number;
  /** A smaller `max`, where other settings leave less room. */
  most?: (settings: Settings) => number;
}

type NumberKey =
  | 'gpus'
  | 'tokens'
  | 'steps'
  | 'seed'
  | 'amount'
  | 'alpha'
  | 'm'
  | 'lambda'
  | 'factor'
  | 'replicas'
  | 'spare';

/** A choice among names. */
export interface ChoiceSetting {
  key: ChoiceKey;
  label: string;
  options: readonly string[];
  initial: string;
}

export type ChoiceKey = 'model' | 'weights' | 'gpu' | 'runtime' | 'skew';

/** Policies that can be switched on; `ep` and `balanced` are always run. */
export const POLICIES = ['llep', 'replicate-quantize', 'capacity', 'eplb'] as const;

export type PolicyName = (typeof POLICIES)[number];

/** The state of the playground; what its address holds. */
export type Settings = Record<NumberKey, number> &
  Record<ChoiceKey, string> & {
    policies: readonly PolicyName[];
    /** Name of the trace that is replayed where `skew` is `trace`. */
    trace: string;
  };

/** How each skew is measured: the key of its routing, and what its slider shows. */
export const SKEWS = {
  balanced: null,
  'hot-experts': {
    option: 'share',
    label: 'share of one hot expert',
    min: 0,
    max: 1,
    step: 0.01,
    initial: 0.6,
  },
  zipf: { option: 'exponent', label: 'exponent of zipf', min: 0, max: 3, step: 0.05, initial: 1 },
  'log-normal': { option: 'sigma', label: 'σ of log-normal', min: 0, max: 3, step: 0.05, initial: 1 },
  'power-law': {
    option: 'exponent',
    label: 'exponent of the power law',
    min: 0.1,
    max: 3,
    step: 0.05,
    initial: 1.2,
  },
  dirichlet: {
    option: 'concentration',
    label: 'concentration of Dirichlet',
    min: 0.05,
    max: 10,
    step: 0.05,
    initial: 0.5,
  },
  trace: null,
} as const;

export type Skew = keyof typeof SKEWS;

export const CHOICES: readonly ChoiceSetting[] = [
  { key: 'model', label: 'Model', options: Object.keys(modelPresets), initial: 'gpt-oss-20b' },
  { key: 'weights', label: 'Weights', options: ['bf16', 'fp8', 'as shipped'], initial: 'bf16' },
  { key: 'gpu', label: 'GPU', options: Object.keys(gpuPresets), initial: 'h200' },
  { key: 'runtime', label: 'Runtime', options: runtimes.map(({ name }) => name), initial: 'ideal' },
  { key: 'skew', label: 'Routing', options: Object.keys(SKEWS), initial: 'hot-experts' },
];

export const NUMBERS: readonly NumberSetting[] = [
  {
    key: 'amount',
    label: 'Skew',
    help: 'How uneven the experts’ loads are.',
    min: 0,
    max: 10,
    step: 0.01,
    initial: 0.6,
  },
  { key: 'gpus', label: 'GPUs', help: 'In nodes of up to 8.', min: 2, max: 64, step: 'doubling', initial: 8 },
  {
    key: 'tokens',
    label: 'Tokens per GPU',
    help: 'In one step.',
    min: 1,
    max: 32_768,
    step: 'doubling',
    initial: 2048,
  },
  { key: 'steps', label: 'Steps', help: 'Batches that are simulated.', min: 1, max: 32, step: 1, initial: 6 },
  { key: 'seed', label: 'Seed', help: 'Of all random draws.', min: 1, max: 99, step: 1, initial: 1 },
  {
    key: 'alpha',
    label: 'llep: α',
    help: 'A GPU computes at most α times the mean load.',
    min: 1,
    max: 3,
    step: 0.05,
    initial: 1,
  },
  {
    key: 'm',
    label: 'llep: m',
    help: 'Fewest tokens worth giving to another GPU.',
    min: 1,
    max: 8192,
    step: 'doubling',
    initial: 1024,
  },
  {
    key: 'lambda',
    label: 'llep: λ',
    help: 'Below this max/mean load plain EP runs.',
    min: 0,
    max: 5,
    step: 0.05,
    initial: 1.3,
  },
  {
    key: 'replicas',
    label: 'replicate-quantize: replicas',
    help: 'Further instances of hot experts, at half the bits of the weights; at most half as many as there are experts.',
    min: 0,
    max: 8,
    step: 1,
    initial: 1,
    // At half the bits one expert pays for one replica, and a replicated one pays for none.
    most: ({ model }) => Math.floor(modelPresets[model].experts / 2),
  },
  {
    key: 'factor',
    label: 'capacity: factor',
    help: 'Tokens that an expert keeps, over the even share.',
    min: 0.25,
    max: 8,
    step: 0.05,
    initial: 1.25,
  },
  {
    key: 'spare',
    label: 'eplb: spare slots per GPU',
    help: 'Room for replicas, beyond the slots that the experts need.',
    min: 0,
    max: 8,
    step: 1,
    initial: 1,
    // More would hold an expert twice on one GPU.
    most: (settings) => modelPresets[settings.model].experts - expertsPerGpu(settings),
  },
];

export function initialSettings(): Settings {
  const entries = [...NUMBERS, ...CHOICES].map(({ key, initial }) => [key, initial]);
  return {
    ...(Object.fromEntries(entries) as Settings),
    policies: ['llep', 'replicate-quantize', 'capacity'],
    trace: '',
  };
}

/** Most experts of one layer that are at home on one GPU. */
export function expertsPerGpu({ model, gpus }: Settings): number {
  return Math.ceil(modelPresets[model].experts / gpus);
}

/** Format of the expert weights. */
export function weightDtypeOf({ model, weights }: Settings): Dtype {
  return weights === 'as shipped' ? (modelPresets[model].weightDtype ?? 'bf16') : (weights as Dtype);
}

/** Bits per weight of the replicas: half of those of the weights, so that one expert can pay for one replica. */
export function replicaBitsOf(settings: Settings): number {
  return Math.floor(bitsOf(weightDtypeOf(settings)) / 2);
}
