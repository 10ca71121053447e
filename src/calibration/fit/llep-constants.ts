import type { ExpertStage, Profile } from '../../hardware/index.js';
import { fitLog } from './least-squares.js';

/** Constants of the published LLEP code that no measurement gives: host time, and how good its kernels are. */
export interface LlepConstants {
  /** Seconds; see the options of `llep-reference`. */
  hostSeconds: number;
  planSeconds: number;
  planSecondsPerExpert: number;
  /** Share of the dense bf16 rate that the loop's and the grouped products reach. */
  loopEfficiency: number;
  groupedEfficiency: number;
  /** Seconds per active expert of the loop and of the grouped product. */
  loopSecondsPerExpert: number;
  groupedSecondsPerExpert: number;
}

/**
 * What each may be, and where a fit starts: the middle of what its meaning allows. Some hundred PyTorch
 * operations of 5 to 30 µs; two blocking reads per expert of 7 to 14 µs; products of 50 to 80 % of the datasheet;
 * two launches to a dozen per expert.
 */
const RANGES: Readonly<Record<keyof LlepConstants, { start: number; min: number; max: number }>> = {
  hostSeconds: { start: 2e-3, min: 0.5e-3, max: 4e-3 },
  planSeconds: { start: 1.5e-3, min: 0, max: 3e-3 },
  planSecondsPerExpert: { start: 20e-6, min: 14e-6, max: 28e-6 },
  loopEfficiency: { start: 0.65, min: 0.5, max: 0.8 },
  groupedEfficiency: { start: 0.65, min: 0.5, max: 0.8 },
  loopSecondsPerExpert: { start: 40e-6, min: 15e-6, max: 70e-6 },
  groupedSecondsPerExpert: { start: 40e-6, min: 15e-6, max: 70e-6 },
};

const NAMES = Object.keys(RANGES) as (keyof LlepConstants)[];

/**
 * Constants that bring simulated speed-ups closest to published ones.
 * @param simulate speed-up of every published point with given constants
 * @param published speed-ups
 */
export function fitLlepConstants(
  simulate: (constants: LlepConstants) => readonly number[],
  published: readonly number[],
): LlepConstants {
  const values = fitLog(
    NAMES.map((name) => RANGES[name]),
    (tried, into) => into.set(simulate(named(tried))),
    Float64Array.from(published),
    new Float64Array(published.length).fill(1),
  );
  return named(values);
}

function named(values: readonly number[]): LlepConstants {
  return Object.fromEntries(NAMES.map((name, i) => [name, values[i]])) as unknown as LlepConstants;
}

/** A profile whose PyTorch kernels run as the constants say. */
export function withLlepKernels(profile: Profile, bf16Flops: number, constants: LlepConstants): Profile {
  const { loopEfficiency, groupedEfficiency, loopSecondsPerExpert, groupedSecondsPerExpert } = constants;
  const kernelOf = ({ layout }: ExpertStage) =>
    layout === 'loop'
      ? { flopPerSecond: loopEfficiency * bf16Flops, perActiveExpertSeconds: loopSecondsPerExpert }
      : { flopPerSecond: groupedEfficiency * bf16Flops, perActiveExpertSeconds: groupedSecondsPerExpert };
  return {
    ...profile,
    expertStages: profile.expertStages.map((stage) =>
      stage.stack === 'pytorch' && stage.computeDtype === 'bf16' ? { ...stage, ...kernelOf(stage) } : stage,
    ),
  };
}
