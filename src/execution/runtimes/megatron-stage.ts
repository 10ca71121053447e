import type { Placement } from '../../balancing/index.js';
import { Executor } from '../../engine/index.js';
import {
  bitsOf,
  expertWeights,
  findStage,
  gradientStageCost,
  stageAccuracy,
  type GradientStageCost,
} from '../../hardware/index.js';
import { LayerAmounts } from '../layer-amounts.js';
import type { Machine, TimedKernel } from '../machine.js';
import { expertBytes } from '../memory.js';
import type { ProgramContext, Rendezvous } from '../runtime.js';
import {
  residentTraining,
  type CopyBytes,
  type GradientBytes,
  type Recompute,
  type StageProgram,
  type TrainingOptions,
} from '../training.js';
import { forwardSeconds, MegatronBackward } from './megatron-backward.js';
import {
  categoryOf,
  MegatronForward,
  MegatronSizes,
  SAVED,
  type MegatronCosts,
  type Saved,
  type SavedBuffers,
} from './megatron-forward.js';
import { MegatronGraph } from './megatron-graph.js';
import { MegatronUpdate } from './megatron-update.js';

/** Tensors that the forward pass keeps for the backward pass; borrowed weights are kept apart from this choice. */
const KEPT: Readonly<Record<Recompute, readonly Saved[]>> = {
  none: ['residual', 'normed', 'routing', 'sorted', 'gateUp', 'activated'],
  activation: ['residual', 'normed', 'routing', 'sorted', 'gateUp'],
  moe: ['residual', 'normed'],
  full: ['residual'],
};

/** The layers of a pipeline stage, forward and backward, and the end of a training step. */
export class MegatronStage implements StageProgram {
  readonly rowRounding: number;
  readonly kernel: TimedKernel;
  readonly forwardBytes: CopyBytes;
  readonly backwardBytes: CopyBytes;
  readonly metadataBytes: number;
  readonly forward: Executor;
  readonly backward: Executor;
  readonly update: Executor;
  readonly rendezvous: { forward: Rendezvous[]; backward: Rendezvous[] };
  private readonly sizes: MegatronSizes;
  private readonly cost: GradientStageCost;
  private readonly kept: SavedBuffers[] = [];
  private readonly given: SavedBuffers[] = [];
  private readonly forwardLayers: MegatronForward[];
  private readonly backwardLayers: MegatronBackward[];
  private readonly updateTasks: MegatronUpdate;
  private readonly ownGradient: number;
  private readonly sentGradient: number;

  constructor(
    costs: MegatronCosts,
    private readonly machine: Machine,
    { network, ledger, traits }: ProgramContext,
    training: TrainingOptions,
    layers: number,
  ) {
    const { cluster, shape } = machine;
    const { gpus } = cluster;
    const { recompute, borrowedWeights } = training;
    const kernel = findStage(cluster.profile, shape, 'fused', 'serving');
    const homeSlots = shape.experts / gpus;
    this.cost = gradientStageCost(kernel, shape, homeSlots);
    this.kernel = { stage: kernel, accuracy: stageAccuracy(kernel, shape, homeSlots) };
    this.rowRounding = kernel.rowRounding;
    this.sizes = new MegatronSizes(machine);
    this.forwardBytes = this.sizes.copyBytes;
    this.backwardBytes = this.sizes.gradientCopyBytes;
    this.ownGradient = expertBytes(machine, 8 * residentTraining(training).gradient);
    this.sentGradient = expertBytes(machine, bitsOf(training.sentGradientDtype));

    const keepsBorrowed = traits.movesWeights && borrowedWeights === 'keep';
    const tensors = SAVED.filter((tensor) =>
      tensor === 'borrowed' ? keepsBorrowed : KEPT[recompute].includes(tensor),
    );
    const common = { machine, network, traits, costs };
    const count = <T>(make: (layer: number) => T) =>
      Array.from({ length: layers }, (_, layer) => make(layer));

    const forward = new MegatronGraph(gpus);
    this.forwardLayers = count((layer) => {
      this.kept[layer] = buffersOf(forward, tensors, 'kept');
      const saved = this.kept[layer];
      return new MegatronForward(forward, {
        ...common,
        pass: 'forward',
        saved,
        norm: true,
        fetches: true,
        allocates: [],
      });
    });
    const backward = new MegatronGraph(gpus);
    this.backwardLayers = [];
    for (let layer = layers - 1; layer >= 0; layer--) {
      this.given[layer] = buffersOf(backward, tensors, 'given');
      this.backwardLayers[layer] = new MegatronBackward(backward, {
        ...common,
        given: this.given[layer],
        training,
        cost: this.cost,
        ownGradient: this.ownGradient,
        sentGradient: this.sentGradient,
      });
    }
    const update = new MegatronGraph(gpus);
    this.updateTasks = new MegatronUpdate(update, machine, network, training, layers);

    this.forward = new Executor(forward.builder.compile(), network.fabric, ledger);
    this.backward = new Executor(backward.builder.compile(), network.fabric, ledger);
    this.update = new Executor(update.builder.compile(), network.fabric, ledger);
    this.metadataBytes = this.forwardLayers[0].metadataBytes;
    this.rendezvous = {
      forward: this.forwardLayers.flatMap((layer) => layer.rendezvous),
      backward: this.backwardLayers.flatMap((layer) => layer.rendezvous),
    };
  }

  newAmounts(): LayerAmounts {
    const { cluster, shape } = this.machine;
    return new LayerAmounts(cluster.gpus, cluster.gpusPerNode, shape.experts, expertWeights(shape));
  }

  fillForward(amounts: readonly LayerAmounts[]): void {
    const { cost } = this;
    amounts.forEach((own, layer) => {
      this.sizeSaved(this.kept[layer], own, this.forward);
      this.forwardLayers[layer].fill(own, (gpu) => forwardSeconds(cost, own, gpu), this.forward);
    });
  }

  fillBackward(amounts: readonly LayerAmounts[], last: boolean): GradientBytes {
    const bytes: GradientBytes = { borrowed: 0, replicas: 0, reduced: 0 };
    amounts.forEach((own, layer) => {
      this.sizeSaved(this.given[layer], own, this.backward);
      this.backwardLayers[layer].fill(own, last, this.backward, bytes);
    });
    return bytes;
  }

  fillUpdate(placements: readonly Placement[]): { replicas: number; gathered: number } {
    return this.updateTasks.fill(placements, this.update);
  }

  private sizeSaved(buffers: SavedBuffers, amounts: LayerAmounts, { bufferBytes }: Executor): void {
    for (const tensor of SAVED) {
      buffers[tensor]?.forEach((buffer, gpu) => {
        bufferBytes[buffer] = this.sizes.saved(tensor, amounts, gpu);
      });
    }
  }
}

function buffersOf(
  graph: MegatronGraph,
  tensors: readonly Saved[],
  lifetime: 'kept' | 'given',
): SavedBuffers {
  return Object.fromEntries(
    tensors.map((tensor) => [tensor, graph.buffers(categoryOf(tensor, true), lifetime)]),
  );
}
