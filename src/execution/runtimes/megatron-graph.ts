import { TaskGraphBuilder, type Lifetime, type TaskSpec } from '../../engine/index.js';
import { accountOf, type MemoryCategory } from '../memory.js';
import type { Phase } from '../phases.js';
import { labelIn, type Pass } from '../training.js';

type Spec = Pick<TaskSpec, 'after' | 'allocates' | 'reads' | 'transfer'>;

/**
 * A graph on the streams of Megatron-LM's layers, per GPU: the host, the compute stream, NCCL's collectives, NCCL's
 * messages of weights and gradients, and a side stream for adding up gradients.
 */
export class MegatronGraph {
  readonly builder = new TaskGraphBuilder();
  readonly host = this.streams('host');
  readonly compute = this.streams('compute');
  readonly side = this.streams('side');
  private readonly collectives = this.streams('network');
  private readonly messages = this.streams('weights');
  private readonly reductions = this.streams('reductions');

  constructor(readonly gpus: number) {}

  each<T>(make: (gpu: number) => T): T[] {
    return Array.from({ length: this.gpus }, (_, gpu) => make(gpu));
  }

  buffers(category: MemoryCategory, lifetime: Lifetime = 'within'): number[] {
    return this.each((gpu) => this.builder.addBuffer(accountOf(gpu, category), lifetime));
  }

  /** One task per GPU on a stream of its own. */
  onEach(pass: Pass, phase: Phase, streams: readonly number[], spec: (gpu: number) => Spec): number[] {
    return this.each((gpu) =>
      this.builder.addTask({ ...spec(gpu), streams: [streams[gpu]], label: labelIn(pass, phase) }),
    );
  }

  /** One task of all GPUs at once. */
  collective(pass: Pass, phase: Phase, spec: Spec): number {
    return this.builder.addTask({ ...spec, streams: this.collectives, label: labelIn(pass, phase) });
  }

  /** A collective beside the others, on a communicator of its own. */
  reduction(pass: Pass, phase: Phase, spec: Spec): number {
    return this.builder.addTask({ ...spec, streams: this.reductions, label: labelIn(pass, phase) });
  }

  /** Messages into every GPU, which begin together. */
  messagesIntoEach(
    pass: Pass,
    phase: Phase,
    after: readonly number[],
    spec: (gpu: number) => Spec,
  ): number[] {
    const label = labelIn(pass, phase);
    const barrier = this.builder.addTask({ streams: this.messages, after, label });
    return this.each((gpu) =>
      this.builder.addTask({
        ...spec(gpu),
        streams: [this.messages[gpu]],
        after: [barrier],
        label,
      }),
    );
  }

  private streams(name: string): number[] {
    return this.each((gpu) => this.builder.addStream(gpu, name));
  }
}
