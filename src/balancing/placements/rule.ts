import { z } from 'zod';
import type { LoadHistory } from '../history/estimator.js';
import type { Placement } from '../placement.js';
import type { PolicySetting, Refusal } from '../policy.js';

/** What a placement rule knows before the run. */
export type PlacementSite = Pick<
  PolicySetting,
  'gpus' | 'gpusPerNode' | 'experts' | 'weightBits' | 'placement' | 'layerIds' | 'placementMaps'
> &
  Partial<Pick<PolicySetting, 'layerNumbers' | 'denseLayers' | 'moeLayers'>> &
  Partial<Pick<PolicySetting, 'hasTokens' | 'calibrationLayers' | 'solver' | 'expertBits'>> & {
    /** Share of the recording that the history sets aside. */
    calibrationShare?: number;
  };

/** Decides which slots hold what. Rules are plain data and factories; what they keep is in their `Placer`. */
export interface PlacementRule<Options = unknown, Input = unknown> {
  kind: string;
  /** One line for `epsim list`. */
  summary: string;
  options: z.ZodType<Options, Input>;
  /** Depends on loads, so that a history is of use to it. */
  adapts: boolean;
  /** Looks at the tokens of the calibration, so that it plans once, before the run. */
  offline?: boolean;
  /** Things that a reader of the result must know about it. */
  notes?(options: Options, site: PlacementSite): string[];
  /** Slots of a layer, of all GPUs together. */
  slots(options: Options, site: PlacementSite): number;
  /** What is in force before the first plan; default: experts in slot order. */
  initial?(options: Options, site: PlacementSite): Placement;
  /** Why it can't work here, or null; the option is one of its own. */
  refusal(options: Options, site: PlacementSite): Refusal | null;
  start(options: Options, site: PlacementSite): Placer;
}

/** A placement rule at work. */
export interface Placer {
  /**
   * Places the experts of some layers at once, since some rules weigh layers against each other.
   * @param loads by layer
   * @param current placements in force, by layer
   * @param layers which of the simulated layers they are, for rules that keep something of each; default: the first
   *   ones
   * @returns by layer; null: the placement in force stays
   */
  place(
    loads: readonly LoadHistory[],
    current: readonly Placement[],
    layers?: readonly number[],
  ): (Placement | null)[];
}

/** A placer that looks at one layer at a time. */
export function layerByLayer(place: (loads: LoadHistory, current: Placement) => Placement | null): Placer {
  return { place: (loads, current) => loads.map((own, layer) => place(own, current[layer])) };
}

/** Option of rules that look at no loads. */
export const repeatingSlots = z
  .int()
  .min(1)
  .nullable()
  .default(null)
  .describe(
    'Slots of a layer; null: one per expert. Slots beyond the experts repeat them from the first on.',
  );

/** What those rules make of it. */
export const repeatingSlotsRule = {
  adapts: false,
  slots: ({ slots }: { slots: number | null }, { experts }: PlacementSite) => slots ?? experts,
  refusal: ({ slots }: { slots: number | null }, site: PlacementSite) =>
    slots === null ? null : refuseSlots(slots, site, false),
} as const;

/** Option of rules that copy hot experts; see `oneSpareSlotPerGpu`. */
export const slotsWithSpare = z
  .int()
  .min(1)
  .nullable()
  .default(null)
  .describe('Slots of a layer, a multiple of the GPUs; null: one more per GPU than its experts need.');

/** Slots where a rule is told nothing: one more per GPU than the experts need, and no more than every expert once. */
export function oneSpareSlotPerGpu({ experts, gpus }: PlacementSite): number {
  return Math.min(Math.ceil(experts / gpus) + 1, experts) * gpus;
}

/** Refuses groups that experts can't be divided into. */
export function refuseGroups(groups: number, { experts }: PlacementSite): Refusal | null {
  if (experts % groups === 0) return null;
  return {
    option: 'groups',
    found: `${groups} for ${experts} experts`,
    allowed: 'a divisor of the experts (groups: 1)',
  };
}

/** Refuses a number of slots that leaves an expert without one, or that GPUs cannot share equally. */
export function refuseSlots(slots: number, { gpus, experts }: PlacementSite, equal: boolean): Refusal | null {
  const least = equal ? Math.ceil(experts / gpus) * gpus : experts;
  if (slots < experts) {
    return {
      option: 'slots',
      found: `${slots} for ${experts} experts`,
      allowed: `at least ${least} (slots: ${least})`,
    };
  }
  if (equal && slots % gpus !== 0) {
    return {
      option: 'slots',
      found: `${slots} on ${gpus} GPUs`,
      allowed: `a multiple of ${gpus} (slots: ${Math.ceil(slots / gpus) * gpus})`,
    };
  }
  return null;
}
