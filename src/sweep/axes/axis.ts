import { z } from 'zod';

/** A place of the scenario that an axis sets. */
export interface SweptPlace {
  /** As the sweep writes it: `workload.tokensPerGpu`, `policies[1].alpha` or a JSON pointer. */
  path: string;
  /** Its column in the result, and what stands there; `json` where values are of several kinds. */
  column: string;
  type: 'number' | 'boolean' | 'text' | 'json';
}

/** One direction of a sweep: a list of settings of one or more places, each of which can be had by its number. */
export interface Axis {
  places: readonly SweptPlace[];
  length: number;
  /** The values of setting `index`, one by place. */
  at(index: number): unknown[];
  /**
   * Settings that show whether the values are allowed: all of a short axis; of a long one, and of one that is
   * drawn, its ends and some between.
   */
  probes(): unknown[][];
}

/** A kind of axis: its options, and how its settings are listed. */
export interface AxisKind<Options = never> {
  kind: string;
  /** One line for the schema. */
  summary: string;
  options: z.ZodType<Options>;
  /** @throws RangeError as `path: found this, allowed: that` where options don't fit together */
  create(options: Options): Axis;
}

export const placeOptions = {
  path: z
    .string()
    .min(1)
    .describe('A path of the scenario: workload.tokensPerGpu, policies[1].alpha, or a JSON pointer.'),
  as: z.string().min(1).max(100).optional().describe('Name of the column in the result; default: the path.'),
};

/** Settings of one place that a range may have. */
export const MOST_VALUES = 1_000_000;

/** Probes of a long axis. */
const MOST_PROBES = 256;

/** The place of an axis with these values, or with numbers. */
export function placeOf(
  { path, as }: { path: string; as?: string },
  values: readonly unknown[] = [0],
): SweptPlace {
  const kinds = new Set(values.map((value) => typeof value));
  const [kind] = kinds;
  const named = { number: 'number', boolean: 'boolean', string: 'text' } as const;
  const type = kinds.size === 1 && kind in named ? named[kind as keyof typeof named] : 'json';
  return { path, column: as ?? path, type };
}

/** An axis over one place, of values that can be had by their number. */
export function singleAxis(place: SweptPlace, length: number, valueAt: (index: number) => unknown): Axis {
  return {
    places: [place],
    length,
    at: (index) => [valueAt(index)],
    probes: () => {
      const probes = Math.min(length, MOST_PROBES);
      return Array.from({ length: probes }, (_, i) => [
        valueAt(probes === 1 ? 0 : Math.round((i * (length - 1)) / (probes - 1))),
      ]);
    },
  };
}

/** A computed value without the noise of its last digits: 0.3, not 0.30000000000000004. */
export function tidy(value: number): number {
  return Number(value.toPrecision(12));
}
