import { QUANTISED, SHIPPED, type LayerWork, type Placement } from '../balancing/index.js';
import {
  bitsOf,
  findStage,
  stageAccuracy,
  stageCost,
  stageSeconds,
  type Accuracy,
  type Cluster,
  type ExpertLayout,
  type ExpertStage,
  type ExpertStageCost,
} from '../hardware/index.js';
import type { MoeShape } from '../model/index.js';

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
  private quantised: ExpertStageCost;
  private placement: Placement | null = null;

  constructor(
    private readonly machine: Machine,
    layout: ExpertLayout,
    stack: ExpertStage['stack'],
  ) {
    const kernel = findStage(machine.cluster.profile, machine.shape, layout, stack);
    const homeSlots = machine.shape.experts / machine.cluster.gpus;
    this.kernel = { stage: kernel, accuracy: stageAccuracy(kernel, machine.shape, homeSlots) };
    this.cost = this.quantised = stageCost(kernel, machine.shape, homeSlots);
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

  seconds(work: LayerWork, gpu: number): number {
    const { gpus } = this.machine.cluster;
    const shipped = SHIPPED * gpus + gpu;
    const low = QUANTISED * gpus + gpu;
    const { roundedRows, activeExperts, rows } = work;
    const firstSlot = this.placement?.firstSlot;
    const slots = firstSlot ? firstSlot[gpu + 1] - firstSlot[gpu] : 0;
    return (
      stageSeconds(this.cost, roundedRows[shipped], activeExperts[shipped], rows[shipped], slots) +
      stageSeconds(this.quantised, roundedRows[low], activeExperts[low], rows[low], slots)
    );
  }
}
