import type { LayerWork, Placement } from '../balancing/index.js';
import {
  bitsOf,
  findStage,
  rowSeconds,
  stageAccuracy,
  stageCost,
  stageSeconds,
  type Accuracy,
  type Cluster,
  type ExpertStage,
  type ExpertStageCost,
} from '../hardware/index.js';
import type { ExpertPrecision, MoeShape } from '../model/index.js';
import { kernelLayout, layoutRounding, type RowLayout } from './row-layout.js';

/** A model on a cluster. */
export interface Machine {
  cluster: Cluster;
  shape: MoeShape;
  /** Bits of each expert's weights where they are not the shape's; null or absent: they are. */
  precision?: ExpertPrecision | null;
}

/** Bytes that one copy takes on its way to its expert. */
export function dispatchBytes({ shape }: Machine): number {
  return Math.ceil((shape.hiddenSize * bitsOf(shape.activationDtype)) / 8);
}

/** Bytes that one copy takes on its way back: results are not quantised below 16 bits. */
export function combineBytes({ shape }: Machine): number {
  return (shape.hiddenSize * Math.max(16, bitsOf(shape.activationDtype))) / 8;
}

/** The kernel of the experts, and how good its times are for the shape, where that was measured. */
export interface TimedKernel {
  stage: ExpertStage;
  accuracy: Accuracy | undefined;
}

/** The part of an expert that a GPU holds where several share it: columns of gate and up, rows of down. */
function sliceOf(shape: MoeShape, tensorParallel: number): MoeShape {
  return { ...shape, expertHiddenSize: Math.ceil(shape.expertHiddenSize / tensorParallel) };
}

/** Time of the expert stage of a GPU that may run several precisions, each as a product of its own. */
export class ExpertTimer {
  readonly cost: ExpertStageCost;
  readonly kernel: TimedKernel;
  /** Rows of an expert are rounded up to a multiple of this. */
  readonly rowRounding: number;
  /** By index of the placement's widths. */
  private costs: ExpertStageCost[];
  private readonly known = new WeakMap<Placement, ExpertStageCost[]>();
  private placement: Placement | null = null;
  private shared: ExpertStageCost | null = null;

  constructor(
    private readonly machine: Machine,
    private readonly layout: RowLayout,
    stack: ExpertStage['stack'],
    private readonly tensorParallel = 1,
  ) {
    const kernel = findStage(machine.cluster.profile, machine.shape, kernelLayout(layout), stack);
    const homeSlots = machine.shape.experts / machine.cluster.gpus;
    // What was measured of a shape does not hold for its slices.
    const measured = tensorParallel === 1 ? homeSlots : NaN;
    const slice = sliceOf(machine.shape, tensorParallel);
    this.kernel = { stage: kernel, accuracy: stageAccuracy(kernel, slice, measured) };
    this.cost = stageCost(kernel, slice, measured);
    this.costs = [this.cost];
    this.rowRounding = layoutRounding(layout, this.cost.rowRounding);
  }

  /** Takes the precisions of a placement: quantised experts read fewer bytes and compute at the same rate. */
  usePlacement(placement: Placement): void {
    if (placement === this.placement) return;
    this.placement = placement;
    const known = this.known.get(placement);
    this.costs = known ?? Array.from(placement.widths, (bits) => this.costAt(bits));
    if (!known) this.known.set(placement, this.costs);
  }

  /** Weights of a precision plan are read more slowly besides, since they must be de-quantised. */
  private costAt(bits: number): ExpertStageCost {
    const { shape, precision } = this.machine;
    const shipped = bitsOf(shape.weightDtype);
    if (bits === shipped) return this.cost;
    const rate = precision && bits < shipped ? precision.dequantisation : 1;
    return {
      ...this.cost,
      weightSecondsPerExpert: (this.cost.weightSecondsPerExpert * bits) / shipped / rate,
    };
  }

  /** Seconds of a GPU's experts. @param entering tokens that enter whole; default: every row by itself */
  seconds(work: LayerWork, gpu: number, entering = -1): number {
    const { gpus } = this.machine.cluster;
    const first = gpu - (gpu % this.tensorParallel);
    const firstSlot = this.placement?.firstSlot;
    const slots = firstSlot ? firstSlot[first + this.tensorParallel] - firstSlot[first] : 0;
    let seconds = 0;
    for (let group = 0; group < this.costs.length; group++) {
      seconds += this.groupSeconds(this.costs[group], work, group * gpus + first, slots, entering);
    }
    return seconds;
  }

  private groupSeconds(
    cost: ExpertStageCost,
    { roundedRows, activeExperts, rows }: LayerWork,
    first: number,
    slots: number,
    entering: number,
  ): number {
    const { topK } = this.machine.shape;
    let rounded = 0;
    let active = 0;
    let own = 0;
    // Every GPU of a tensor-parallel group computes its slice of all the group's experts.
    for (let at = first; at < first + this.tensorParallel; at++) {
      rounded += roundedRows[at];
      active += activeExperts[at];
      own += rows[at];
    }
    const moved = this.layout === 'contiguous' ? rounded : own;
    const activation =
      entering < 0
        ? cost.activationSecondsPerRow * moved
        : rowSeconds(cost) * moved +
          entering * (cost.inputSecondsPerToken + topK * cost.inputSecondsPerChoice);
    return stageSeconds(cost, rounded, active, own, slots, activation);
  }

  /** Seconds of the experts that every token uses, as one product of their joint width. */
  sharedSeconds(tokens: number): number {
    const { sharedExperts, expertHiddenSize } = this.machine.shape;
    if (sharedExperts === 0 || tokens === 0) return 0;
    const { rowRounding } = this.cost;
    const rounded = Math.ceil(tokens / rowRounding) * rowRounding;
    this.shared ??= stageCost(this.kernel.stage, {
      ...this.machine.shape,
      expertHiddenSize: sharedExperts * expertHiddenSize,
    });
    return stageSeconds(this.shared, rounded, 1, tokens, 1);
  }
}
