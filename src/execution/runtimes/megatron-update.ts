import type { Placement } from '../../balancing/index.js';
import type { Executor } from '../../engine/index.js';
import { bitsOf, type Network } from '../../hardware/index.js';
import { replicasOf } from '../gradient-messages.js';
import type { Machine } from '../machine.js';
import { expertBytes } from '../memory.js';
import { residentTraining, ringShares, type TrainingOptions } from '../training.js';
import type { MegatronGraph } from './megatron-graph.js';

/**
 * What ends a training step: the optimizer on every GPU, the updated weights gathered over the expert-data-parallel
 * group where it shares an optimizer, and sent from the experts' homes to their replicas.
 */
export class MegatronUpdate {
  private readonly optimizer: number[];
  private readonly gather: number;
  private readonly refresh: number;
  private readonly ringBytes: Float64Array;
  private readonly weight: number;
  private readonly movedPerExpert: number;

  constructor(
    graph: MegatronGraph,
    private readonly machine: Machine,
    private readonly network: Network,
    private readonly training: TrainingOptions,
    layers: number,
  ) {
    const { gpus } = graph;
    this.weight = expertBytes(machine, bitsOf(machine.shape.weightDtype));
    this.ringBytes = new Float64Array(gpus);
    this.movedPerExpert = movedByOptimizer(machine, training);
    this.optimizer = graph.onEach('update', 'optimizer', graph.compute, () => ({}));
    this.gather = network.declareRings();
    const gathered = graph.reduction('update', 'weights', { after: this.optimizer, transfer: this.gather });
    this.refresh = network.declareMessages(layers * (2 * machine.shape.experts + gpus));
    graph.collective('update', 'weights', { after: [gathered], transfer: this.refresh });
  }

  /** Returns the bytes of updated weights that travel to replicas, and within expert-data-parallel groups. */
  fill(placements: readonly Placement[], { duration }: Executor): { replicas: number; gathered: number } {
    const { ringBytes, weight, network, training, machine } = this;
    const share = ringShares(training).weights;
    const source: number[] = [];
    const destination: number[] = [];
    ringBytes.fill(0);
    for (const placement of placements) {
      for (const gpu of placement.home) ringBytes[gpu] += 1;
      const replicas = replicasOf(placement);
      // Weights go the way that gradients came.
      source.push(...replicas.destination);
      destination.push(...replicas.source);
    }
    let gathered = 0;
    for (let gpu = 0; gpu < ringBytes.length; gpu++) {
      duration[this.optimizer[gpu]] =
        (ringBytes[gpu] * this.movedPerExpert) / machine.cluster.profile.copyBytesPerSecond;
      ringBytes[gpu] *= share * weight;
      gathered += ringBytes[gpu];
    }
    network.setRings(this.gather, ringBytes);
    const bytes = new Float64Array(source.length).fill(weight);
    network.setMessages(this.refresh, { count: source.length, source, destination, bytes }, -1);
    return { replicas: source.length * weight, gathered };
  }
}

/** Bytes that the optimizer's step moves for one expert: gradient read, states and own weights read and written, weights written. */
function movedByOptimizer(machine: Machine, training: TrainingOptions): number {
  const { optimizer, expertDataParallel } = training;
  if (optimizer === null) return 0;
  const { gradient } = residentTraining(training);
  const whole = residentTraining({ ...training, expertDataParallel: 1 }).optimizer;
  const perWeight = gradient + 2 * whole + bitsOf(machine.shape.weightDtype) / 8;
  return expertBytes(machine, 8 * perWeight) / (optimizer.sharded ? expertDataParallel : 1);
}
