import {
  PASSES,
  PHASES,
  type GradientBytes,
  type LayerAmounts,
  type StageProgram,
  type TrainingOptions,
} from '../execution/index.js';

/** Bytes of the exchanges of a pass, and of weights that travel for it. */
export interface PassBytes {
  dispatch: number;
  combine: number;
  weights: number;
  metadata: number;
}

/** Sums of training over the steps that count. */
export class TrainingTotals {
  /** Training steps, and the share of their GPU time in which a pipeline stage waits, summed over them. */
  steps = 0;
  idle = 0;
  readonly forward: PassBytes = { dispatch: 0, combine: 0, weights: 0, metadata: 0 };
  readonly recompute: PassBytes = { dispatch: 0, combine: 0, weights: 0, metadata: 0 };
  readonly backward: PassBytes = { dispatch: 0, combine: 0, weights: 0, metadata: 0 };
  readonly gradients: GradientBytes = { borrowed: 0, replicas: 0, reduced: 0 };
  /** Updated weights: to replicas, and within expert-data-parallel groups; and weights of new placements. */
  refreshedBytes = 0;
  gatheredBytes = 0;
  movedBytes = 0;
  /** Seconds that tasks run, over all GPUs, and on the critical path; [pass · phases + phase]. */
  readonly phases = new Float64Array(PASSES.length * PHASES.length);
  readonly critical = new Float64Array(PASSES.length * PHASES.length);

  /** Adds the exchanges of one layer of a micro-batch, of so many copies that leave their GPU. */
  addLayer(
    { forwardBytes, backwardBytes, metadataBytes }: StageProgram,
    { messages }: LayerAmounts,
    copies: number,
    { recompute, borrowedWeights }: TrainingOptions,
  ): void {
    const again = recompute === 'moe' || recompute === 'full';
    const fetched = borrowedWeights === 'fetch-again' ? messages.total : 0;
    const add = (to: PassBytes, per: typeof forwardBytes, weights: number, metadata: number) => {
      to.dispatch += copies * per.dispatch;
      to.combine += copies * per.combine;
      to.weights += weights;
      to.metadata += metadata;
    };
    add(this.forward, forwardBytes, messages.total, metadataBytes);
    if (again) add(this.recompute, forwardBytes, fetched, metadataBytes);
    add(this.backward, backwardBytes, again ? 0 : fetched, 0);
  }

  addGradients({ borrowed, replicas, reduced }: GradientBytes): void {
    this.gradients.borrowed += borrowed;
    this.gradients.replicas += replicas;
    this.gradients.reduced += reduced;
  }
}
