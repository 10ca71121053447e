import { bitsOf } from './dtype.js';
import { softMaximum, stageCost, tiledFlop, type ExpertShape, type ExpertStageCost } from './expert-stage.js';
import { lookupFactor } from './lookup.js';
import type { ExpertStage } from './profile.js';

/**
 * Elements of H that a copy moves between the products, each read and each write counted: forward (write 2H, read
 * them, write H, read them), and for the gradients of the data (write H; read it and the 2H kept from forward and
 * write 2H; read those), and of the weights (read the H and 2H once more).
 */
const FORWARD_WIDTHS = 6;
const DATA_WIDTHS = 8;
const WEIGHT_WIDTHS = 3;

/** The two backward products of the expert stage of one GPU, as rates derived from those of its forward kernel. */
export interface GradientStageCost {
  forward: ExpertStageCost;
  /** Product time of one row in the data gradient. */
  dataFlopSecondsPerRow: number;
  /** Activation traffic of one row in both. */
  dataActivationSecondsPerRow: number;
  weightActivationSecondsPerRow: number;
  /** Time to write, or read, a byte of the gradients of weights. */
  secondsPerGradientByte: number;
}

/**
 * The backward products of a kernel, of which none was measured: the same tiles, rates and fixed times as forward,
 * with the dimensions turned round.
 *
 * - Gradient of the data: dY (rows × D) by W₂ᵀ, then by W₁ᵀ: as many FLOP and the same weights to read as forward.
 * - Gradient of the weights: Xᵀ · dY per expert. The rows are the inner dimension, which is walked through in blocks
 *   (taken to be as long as forward's rows are rounded to); the outcome, 3 D H elements per expert, is written however
 *   few rows there are, and read before where it is added to what is there. Small loads are bound by that.
 *
 * @param slots experts that a GPU holds at home, as for `stageCost`
 */
export function gradientStageCost(stage: ExpertStage, shape: ExpertShape, slots: number): GradientStageCost {
  const { hiddenSize, expertHiddenSize, activationDtype = 'bf16' } = shape;
  const elementSeconds = bitsOf(activationDtype) / 8 / stage.activationBytesPerSecond;
  const hidden = stage.hiddenWidths * hiddenSize;
  const between = (widths: number) => (stage.expertHiddenWidths * expertHiddenSize * widths) / FORWARD_WIDTHS;
  // The products with W₂ᵀ (D → H) and W₁ᵀ (2H → D) are those of a forward expert of these widths.
  const turned = (inner: number, columns: number) => tiledFlop(inner, columns, stage.columnRounding);
  return {
    forward: stageCost(stage, shape, slots),
    dataFlopSecondsPerRow:
      (turned(hiddenSize, expertHiddenSize) + turned(2 * expertHiddenSize, hiddenSize)) / stage.flopPerSecond,
    dataActivationSecondsPerRow: (hidden + between(DATA_WIDTHS)) * elementSeconds,
    weightActivationSecondsPerRow: (hidden + between(WEIGHT_WIDTHS)) * elementSeconds,
    secondsPerGradientByte: 1 / stage.weightBytesPerSecond,
  };
}

/** What one GPU's experts compute, forward and backward. */
export interface StageLoad {
  /** Sum over experts of their rows, each rounded up to the stage's rounding. */
  roundedRows: number;
  /** Experts with at least one row. */
  active: number;
  /** Of them, those whose weights are borrowed. */
  borrowed: number;
  rows: number;
  /** Experts that the GPU holds. */
  slots: number;
}

/** Seconds of the gradient of the data of one GPU's experts; 0 where none is active. */
export function dataGradientSeconds(cost: GradientStageCost, load: StageLoad): number {
  const { forward, dataFlopSecondsPerRow, dataActivationSecondsPerRow } = cost;
  const weights = forward.weightSecondsPerExpert * load.active;
  return formSeconds(forward, load, dataFlopSecondsPerRow, weights, dataActivationSecondsPerRow);
}

/**
 * Seconds of the gradient of the weights of one GPU's experts; 0 where none is active.
 * @param ownBytes bytes of the gradients of an expert that the GPU holds: added to what is there
 * @param borrowedBytes of one that it borrowed: written
 */
export function weightGradientSeconds(
  cost: GradientStageCost,
  load: StageLoad,
  ownBytes: number,
  borrowedBytes: number,
): number {
  const { forward, secondsPerGradientByte, weightActivationSecondsPerRow } = cost;
  const own = load.active - load.borrowed;
  const written = (2 * own * ownBytes + load.borrowed * borrowedBytes) * secondsPerGradientByte;
  return formSeconds(forward, load, forward.flopSecondsPerRow, written, weightActivationSecondsPerRow);
}

/** The stage's form with other products, memory traffic and activation traffic. */
function formSeconds(
  cost: ExpertStageCost,
  { roundedRows, active, rows, slots }: StageLoad,
  flopSecondsPerRow: number,
  memorySeconds: number,
  activationSecondsPerRow: number,
): number {
  if (active === 0) return 0;
  const form =
    cost.launchSeconds +
    cost.perSlotSeconds * slots +
    cost.perActiveExpertSeconds * active +
    softMaximum(flopSecondsPerRow * roundedRows, memorySeconds, cost.softMaxExponent) +
    activationSecondsPerRow * rows;
  return cost.lookup === null ? form : form * lookupFactor(cost.lookup, rows);
}
