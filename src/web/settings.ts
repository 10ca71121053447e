import { gpuPresets } from '../hardware/index.js';
import { modelPresets } from '../model/index.js';
import { runtimes } from '../execution/index.js';
import type { ScenarioInput } from '../scenario/index.js';

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

type ChoiceKey = 'model' | 'weights' | 'gpu' | 'runtime' | 'skew';

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
    help: 'Further instances of hot experts.',
    min: 0,
    max: 8,
    step: 1,
    initial: 1,
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
    help: 'Slots beyond one per expert.',
    min: 0,
    max: 8,
    step: 1,
    initial: 1,
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

/** What differs from the initial settings, as the part of an address behind `#`. */
export function toAddress(settings: Settings): string {
  const initial = initialSettings();
  const address = new URLSearchParams();
  for (const { key } of [...CHOICES, ...NUMBERS]) {
    if (settings[key] !== initial[key]) address.set(key, String(settings[key]));
  }
  if (settings.policies.join() !== initial.policies.join()) address.set('policies', settings.policies.join());
  if (settings.skew === 'trace') address.set('trace', settings.trace);
  return address.toString();
}

/** Settings of an address. Whoever made it, they are within their limits; what is no setting is left out. */
export function fromAddress(hash: string): Settings {
  const address = new URLSearchParams(hash.replace(/^#/, ''));
  const settings = initialSettings();
  for (const { key, options } of CHOICES) {
    const value = address.get(key);
    if (value !== null && options.includes(value)) settings[key] = value;
  }
  const skew = SKEWS[settings.skew as Skew];
  if (skew !== null) settings.amount = skew.initial;
  for (const setting of NUMBERS) {
    const text = address.get(setting.key);
    if (text !== null && text.trim() !== '' && Number.isFinite(Number(text))) {
      settings[setting.key] = within(Number(text), setting);
    }
  }
  if (skew !== null) settings.amount = within(settings.amount, skew);
  const policies = address.get('policies');
  if (policies !== null) settings.policies = POLICIES.filter((name) => policies.split(',').includes(name));
  settings.trace = settings.skew === 'trace' ? (address.get('trace') ?? '').slice(0, 200) : '';
  return settings;
}

function within(value: number, { min, max, step }: Pick<NumberSetting, 'min' | 'max' | 'step'>): number {
  const limited = Math.min(max, Math.max(min, value));
  if (step === 'doubling') return 2 ** Math.round(Math.log2(limited));
  return Number((Math.round(limited / step) * step).toFixed(6));
}

/** The scenario that the settings stand for, as the command line runs it. */
export function scenarioOf(settings: Settings): ScenarioInput {
  const { model, weights, gpu, gpus, runtime, skew, amount, tokens, steps, seed } = settings;
  const of = SKEWS[skew as Skew];
  const replayed = skew === 'trace';
  const routing = replayed
    ? { kind: 'trace', path: settings.trace, resample: true }
    : {
        kind: skew,
        ...(of === null ? {} : { [of.option]: amount }),
        ...(skew === 'hot-experts' ? { experts: 1 } : {}),
      };
  return {
    name: 'playground',
    model: { preset: model, ...(weights === 'as shipped' ? {} : { weightDtype: weights }) },
    cluster: { gpu, gpus },
    runtime,
    workload: { phase: 'prefill', tokensPerGpu: tokens, steps, routing, layer: replayed ? 'all' : 0 },
    policies: ['ep', ...settings.policies.map((name) => policyOf(name, settings))],
    seed,
    // Replicates over sequences take seconds; intervals here are of the clock and of paired steps.
    resamples: 0,
  } as ScenarioInput;
}

function policyOf(
  name: PolicyName,
  { alpha, m, lambda, factor, replicas, spare, gpus, model }: Settings,
): object {
  switch (name) {
    case 'llep':
      return { kind: name, alpha, minTokensPerGemm: m, imbalanceThreshold: lambda };
    case 'replicate-quantize':
      return { kind: name, replicas };
    case 'capacity':
      return { kind: name, factor };
    case 'eplb':
      return { kind: name, placement: { kind: 'eplb', slots: modelPresets[model].experts + spare * gpus } };
  }
}
