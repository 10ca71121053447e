import { parsePath, setValue } from '../scenario/index.js';

/** Values to try, by option of a policy; an option inside another one by its path (`placement.slots`). */
export type TuneSpace = Readonly<Record<string, readonly unknown[]>>;

/** One value of each of those options. */
export type Setting = Readonly<Record<string, unknown>>;

/** What a default grid depends on. */
export interface TuneSite {
  experts: number;
  gpus: number;
  /** Of the experts' weights as they are shipped. */
  weightBits: number;
}

/** What is tried of a policy where nobody says. */
const SPACES: Readonly<Record<string, (site: TuneSite) => TuneSpace>> = {
  llep: () => ({
    alpha: [1, 1.05, 1.1, 1.25, 1.5, 2],
    minTokensPerGemm: [64, 256, 1024, 4096],
    imbalanceThreshold: [0, 1.1, 1.3, 1.6, 2, 3, 4],
  }),
  'replicate-quantize': ({ weightBits }) => ({
    replicas: [1, 2, 4, 8],
    bits: [8, 4, 2].filter((bits) => bits < weightBits),
    split: ['even', 'least-loaded'],
  }),
  capacity: () => ({ factor: [1, 1.1, 1.25, 1.5, 2, 3], order: ['position', 'score'] }),
  eplb: ({ experts, gpus }) => ({
    'placement.slots': slotsWithCopies(experts, gpus),
    dispatch: ['even', 'random', 'least-loaded'],
  }),
  'round-robin': ({ experts, gpus }) => ({ 'placement.slots': slotsWithCopies(experts, gpus) }),
  ultraep: () => ({
    spareSlots: [1, 2, 4],
    minTokensPerReplica: [256, 1024, 4096],
    threshold: [1, 1.1, 1.3],
  }),
  harmoeny: () => ({ minTokens: [16, 64, 256, 1024, 4096] }),
  'fastermoe-shadow': () => ({ breakEvenTokens: [64, 256, 512, 1024, 4096] }),
};

/** The experts' own slots, and up to eight more per GPU, as many as leave every GPU with different experts. */
function slotsWithCopies(experts: number, gpus: number): number[] {
  const own = Math.ceil(experts / gpus);
  return [0, 1, 2, 4, 8]
    .map((more) => own + more)
    .filter((slots) => slots <= experts)
    .map((slots) => slots * gpus);
}

/** What is tried of a policy where nobody says; null where that is not known. */
export function defaultSpace(kind: string, site: TuneSite): TuneSpace | null {
  return SPACES[kind]?.(site) ?? null;
}

/** Every combination of the values of a space, the last option changing fastest. */
export function settingsOf(space: TuneSpace): Setting[] {
  return Object.entries(space).reduce<Setting[]>(
    (settings, [option, values]) =>
      settings.flatMap((setting) => values.map((value) => ({ ...setting, [option]: value }))),
    [{}],
  );
}

/**
 * A policy with a setting's options.
 * @param policy as a scenario lists it; a rule that stands there by its name gets options of its own
 * @param where what to call the setting in messages
 * @throws ScenarioError where an option can't have options
 */
export function policyWith(policy: object, setting: Setting, where: string): object {
  return Object.entries(setting).reduce<unknown>(
    (changed, [option, value]) => setValue(changed, parsePath(option, where), value, where),
    withRoomFor(policy, Object.keys(setting)),
  ) as object;
}

/** A policy whose rules stand there as objects wherever one of the options is theirs. */
export function withRoomFor(policy: object, options: readonly string[]): object {
  const rules = new Set(
    options.filter((option) => option.includes('.')).map((option) => option.split('.')[0]),
  );
  return Object.fromEntries(
    Object.entries(policy).map(([key, value]) => [
      key,
      rules.has(key) && typeof value === 'string' ? { kind: value } : (value as unknown),
    ]),
  );
}

/** The value of an option, by its path; undefined where there is none. */
export function optionOf(policy: object, option: string): unknown {
  return option
    .split('.')
    .reduce<unknown>((value, key) => (value as Record<string, unknown> | null | undefined)?.[key], policy);
}
