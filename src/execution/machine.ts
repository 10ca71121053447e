import { QUANTISED, SHIPPED, type LayerWork, type Placement } from '../balancing/index.js';
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
import type { MoeShape } from '../model/index.js';
import { kernelLayout, layoutRounding, type RowLayout } from './row-layout.js';

/** A model on a cluster. */
export interface Machine {
  cluster: Cluster;
  shape: MoeShape;
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

/** Time of the expert stage of a GPU that may run two precisions, each as a product of its own. */
export class ExpertTimer {
  readonly cost: ExpertStageCost;
  readonly kernel: TimedKernel;
  /** Rows of an expert are rounded up to a multiple of this. */
  readonly rowRounding: number;
  private quantised: ExpertStageCost;
  private placement: Placement | null = null;
  private shared: ExpertStageCost | null = null;

  constructor(
    private readonly machine: Machine,
    private readonly layout: RowLayout,
    stack: ExpertStage['stack'],
  ) {
    const kernel = findStage(machine.cluster.profile, machine.shape, kernelLayout(layout), stack);
    const homeSlots = machine.shape.experts / machine.cluster.gpus;
    this.kernel = { stage: kernel, accuracy: stageAccuracy(kernel, machine.shape, homeSlots) };
    this.cost = this.quantised = stageCost(kernel, machine.shape, homeSlots);
    this.rowRounding = layoutRounding(layout, this.cost.rowRounding);
  }

  /** Takes the precisions of a placement: quantised experts read fewer bytes and compute at the same rate. */
  usePlacement(placement: Placement): void {
    if (placement === this.placement) return;
    this.placement = placement;
    if (!placement.mixed) return;
    const low = placement.slotBits.reduce((least, bits) => Math.min(least, bits), Infinity);
    const shipped = bitsOf(this.machine.shape.weightDtype);
    this.quantised = {
      ...this.cost,
      weightSecondsPerExpert: (this.cost.weightSecondsPerExpert * low) / shipped,
    };
  }

  /** Seconds of a GPU's experts. @param entering tokens that enter whole; default: every row by itself */
  seconds(work: LayerWork, gpu: number, entering = -1): number {
    const { gpus } = this.machine.cluster;
    const firstSlot = this.placement?.firstSlot;
    const slots = firstSlot ? firstSlot[gpu + 1] - firstSlot[gpu] : 0;
    return (
      this.groupSeconds(this.cost, work, SHIPPED * gpus + gpu, slots, entering) +
      this.groupSeconds(this.quantised, work, QUANTISED * gpus + gpu, slots, entering)
    );
  }

  private groupSeconds(
    cost: ExpertStageCost,
    { roundedRows, activeExperts, rows }: LayerWork,
    at: number,
    slots: number,
    entering: number,
  ): number {
    const { topK } = this.machine.shape;
    const moved = this.layout === 'contiguous' ? roundedRows[at] : rows[at];
    const activation =
      entering < 0
        ? cost.activationSecondsPerRow * moved
        : rowSeconds(cost) * moved +
          entering * (cost.inputSecondsPerToken + topK * cost.inputSecondsPerChoice);
    return stageSeconds(cost, roundedRows[at], activeExperts[at], rows[at], slots, activation);
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
