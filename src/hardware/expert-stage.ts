import { bitsOf, type Dtype } from './dtype.js';
import { lookupFactor, stageLookup, type StageLookup } from './lookup.js';
import { shippedProfiles, type Accuracy, type ExpertStage, type Lookup, type Profile } from './profile.js';

/** What the time of an expert depends on, besides how many copies it gets. */
export interface ExpertShape {
  /** Model width D. */
  hiddenSize: number;
  /** Intermediate width H of one expert. */
  expertHiddenSize: number;
  weightDtype: Dtype;
  /** Default bf16. */
  activationDtype?: Dtype;
}

export type ExpertLayout = ExpertStage['layout'];

/** The expert stage of one GPU for one shape and format, as rates; `stageSeconds` evaluates it. */
export interface ExpertStageCost {
  launchSeconds: number;
  perSlotSeconds: number;
  perActiveExpertSeconds: number;
  rowRounding: number;
  /** Product time of one row. */
  flopSecondsPerRow: number;
  /** Time to read one expert's weights. */
  weightSecondsPerExpert: number;
  softMaxExponent: number;
  /** What one token costs on entering, without its choices. */
  inputSecondsPerToken: number;
  /** What each of its choices costs on entering, wherever its expert is. */
  inputSecondsPerChoice: number;
  /** Activation traffic of one row, and what its token costs on entering. */
  activationSecondsPerRow: number;
  /** What was measured of this very shape on GPUs of as many experts; null: the form alone. */
  lookup: StageLookup | null;
}

/** Weights of one expert: gate, up and down, D × H each. */
export function expertWeights(shape: Pick<ExpertShape, 'hiddenSize' | 'expertHiddenSize'>): number {
  return 3 * shape.hiddenSize * shape.expertHiddenSize;
}

/** FLOP of one copy forward: a multiply and an add per weight. */
export function expertFlop(shape: Pick<ExpertShape, 'hiddenSize' | 'expertHiddenSize'>): number {
  return 2 * expertWeights(shape);
}

/**
 * The cost of every kernel of a profile that can run a shape.
 * @param slots experts that a GPU holds at home
 */
export function expertStageCosts(profile: Profile, shape: ExpertShape, slots: number): ExpertStageCost[] {
  return profile.expertStages
    .filter((stage) => takes(stage, shape))
    .map((stage) => stageCost(stage, shape, slots));
}

function takes(stage: ExpertStage, { weightDtype, activationDtype = 'bf16' }: ExpertShape): boolean {
  return stage.weightDtypes.includes(weightDtype) && stage.activationDtypes.includes(activationDtype);
}

/**
 * The profile's kernel for a shape: of the stack asked for, else of another one.
 * @throws RangeError that says what to measure where there is none
 */
export function findStage(
  profile: Profile,
  shape: ExpertShape,
  layout: ExpertLayout,
  stack: ExpertStage['stack'],
): ExpertStage {
  const fitting = profile.expertStages.filter((stage) => stage.layout === layout && takes(stage, shape));
  const stage = fitting.find((candidate) => candidate.stack === stack) ?? fitting[0];
  if (stage === undefined) {
    const { weightDtype, activationDtype = 'bf16' } = shape;
    const known = profile.expertStages.map(
      (s) => `${s.layout}: ${s.weightDtypes.join('/')} × ${s.activationDtypes.join('/')}`,
    );
    throw new RangeError(
      `profile ${profile.name} has no expert stage for layout ${layout}, weights ${weightDtype}, activations ` +
        `${activationDtype}; measure that kernel, or use one it has (${known.join('; ')})`,
    );
  }
  return stage;
}

/** FLOP of one row of a product whose columns come in whole tiles. */
export function tiledFlop(inner: number, columns: number, columnRounding: number): number {
  return 2 * inner * Math.ceil(columns / columnRounding) * columnRounding;
}

/**
 * A kernel's cost for one shape, where every row comes as a token of its own, as a dispatch per copy delivers it.
 * @param slots experts that a GPU holds at home, by which what was measured of the shape is looked up: once for all
 *   policies of a run, or those with replicas would run another kernel than those without
 */
export function stageCost(stage: ExpertStage, shape: ExpertShape, slots?: number): ExpertStageCost {
  const measured = lookupOf(stage, shape, slots);
  const { hiddenSize, expertHiddenSize, weightDtype, activationDtype = 'bf16' } = shape;
  const weightBytes = (expertWeights(shape) * bitsOf(weightDtype)) / 8;
  const elementSeconds = bitsOf(activationDtype) / 8 / stage.activationBytesPerSecond;
  const perRow = stage.hiddenWidths * hiddenSize + stage.expertHiddenWidths * expertHiddenSize;
  const inputSecondsPerToken = stage.inputWidths * hiddenSize * elementSeconds;
  return {
    launchSeconds: stage.launchSeconds + stage.perHiddenElementSeconds * hiddenSize,
    perSlotSeconds: stage.perSlotSeconds,
    perActiveExpertSeconds: stage.perActiveExpertSeconds,
    rowRounding: stage.rowRounding,
    flopSecondsPerRow:
      (tiledFlop(hiddenSize, 2 * expertHiddenSize, stage.columnRounding) +
        tiledFlop(expertHiddenSize, hiddenSize, stage.columnRounding)) /
      stage.flopPerSecond,
    weightSecondsPerExpert: weightBytes / stage.weightBytesPerSecond,
    softMaxExponent: stage.softMaxExponent,
    inputSecondsPerToken,
    inputSecondsPerChoice: stage.perChoiceSeconds,
    activationSecondsPerRow: perRow * elementSeconds + inputSecondsPerToken + stage.perChoiceSeconds,
    lookup: measured === undefined ? null : stageLookup(measured),
  };
}

/** What was measured of a shape on GPUs of so many experts. */
function lookupOf(
  { lookups }: ExpertStage,
  { hiddenSize, expertHiddenSize }: ExpertShape,
  slots: number | undefined,
): Lookup | undefined {
  return lookups.find(
    (own) =>
      own.hiddenSize === hiddenSize && own.expertHiddenSize === expertHiddenSize && own.slots === slots,
  );
}

/** How good a kernel's times are for a shape on GPUs of so many slots: better where that was measured itself. */
export function stageAccuracy(stage: ExpertStage, shape: ExpertShape, slots: number): Accuracy | undefined {
  return lookupOf(stage, shape, slots) ? (stage.lookupAccuracy ?? stage.accuracy) : stage.accuracy;
}

/** The least factor that what was measured puts on the form: what a lower bound must count with. */
export function leastFactor({ lookup }: ExpertStageCost): number {
  return lookup === null ? 1 : Math.min(1, Math.exp(Math.min(...lookup.logFactors)));
}

/** Activation traffic of one row, without what its token costs on entering. */
export function rowSeconds(cost: ExpertStageCost): number {
  return cost.activationSecondsPerRow - cost.inputSecondsPerToken - cost.inputSecondsPerChoice;
}

/**
 * Seconds of one GPU's expert stage; 0 where no expert is active.
 * @param roundedRows sum over its experts of their rows, each rounded up to `rowRounding`
 * @param active experts with at least one row
 * @param rows sum of rows
 * @param slots experts that the GPU holds
 * @param activation seconds of moving rows; default: all of them, each entering as a token of its own
 */
export function stageSeconds(
  cost: ExpertStageCost,
  roundedRows: number,
  active: number,
  rows: number,
  slots: number,
  activation = cost.activationSecondsPerRow * rows,
): number {
  if (active === 0) return 0;
  const form =
    cost.launchSeconds +
    cost.perSlotSeconds * slots +
    cost.perActiveExpertSeconds * active +
    softMaximum(
      cost.flopSecondsPerRow * roundedRows,
      cost.weightSecondsPerExpert * active,
      cost.softMaxExponent,
    ) +
    activation;
  return cost.lookup === null ? form : form * lookupFactor(cost.lookup, rows);
}

/** What `stageSeconds` is made of: seconds of each term, the larger of product and weights counting most. */
export interface StageTerms {
  launch: number;
  product: number;
  weights: number;
  activations: number;
  /** What measurements of the shape put on the sum. */
  factor: number;
}

/** The terms of `stageSeconds`, for the same arguments. */
export function stageTerms(
  cost: ExpertStageCost,
  roundedRows: number,
  active: number,
  rows: number,
  slots: number,
): StageTerms {
  return {
    launch: cost.launchSeconds + cost.perSlotSeconds * slots + cost.perActiveExpertSeconds * active,
    product: cost.flopSecondsPerRow * roundedRows,
    weights: cost.weightSecondsPerExpert * active,
    activations: cost.activationSecondsPerRow * rows,
    factor: cost.lookup === null ? 1 : lookupFactor(cost.lookup, rows),
  };
}

/** The q-norm of two numbers ≥ 0: their maximum for large q, their sum for q = 1. */
export function softMaximum(a: number, b: number, q: number): number {
  const large = a > b ? a : b;
  const small = a > b ? b : a;
  if (small === 0) return large;
  if (q === 4) {
    // The exponent of the shipped profiles; square roots take a fraction of the time of powers.
    const square = (small / large) ** 2;
    return large * Math.sqrt(Math.sqrt(1 + square * square));
  }
  return large * Math.pow(1 + Math.pow(small / large, q), 1 / q);
}

/**
 * Seconds that one GPU takes for its experts.
 *
 * @param profile a profile, or the name of a GPU or of a shipped profile
 * @param shape of the experts
 * @param copiesPerSlot copies that each of the GPU's slots computes
 * @param layout kernel layout, default fused
 * @throws RangeError where the profile is unknown or lacks the kernel, or a count is not a whole number ≥ 0
 */
export function expertStageSeconds(
  profile: Profile | string,
  shape: ExpertShape,
  copiesPerSlot: readonly number[],
  layout: ExpertLayout = 'fused',
): number {
  const known = typeof profile === 'string' ? findProfile(profile) : profile;
  const cost = stageCost(findStage(known, shape, layout, 'serving'), shape, copiesPerSlot.length);
  let rounded = 0;
  let active = 0;
  let rows = 0;
  copiesPerSlot.forEach((copies, slot) => {
    if (!(Number.isInteger(copies) && copies >= 0)) {
      throw new RangeError(`copiesPerSlot[${slot}]: found ${copies}, allowed: a whole number ≥ 0`);
    }
    if (copies === 0) return;
    rounded += Math.ceil(copies / cost.rowRounding) * cost.rowRounding;
    active++;
    rows += copies;
  });
  return stageSeconds(cost, rounded, active, rows, copiesPerSlot.length);
}

/** @throws RangeError that lists what there is */
export function findProfile(name: string): Profile {
  const found = shippedProfiles.find((profile) => profile.name === name || profile.gpu === name);
  if (!found) {
    const names = shippedProfiles.map((profile) => profile.name).join(', ');
    throw new RangeError(`no profile named ${name}; shipped: ${names}`);
  }
  return found;
}
