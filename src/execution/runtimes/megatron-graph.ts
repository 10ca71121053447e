import { TaskGraphBuilder, type Lifetime, type TaskWork } from '../../engine/index.js';
import { accountOf, type MemoryCategory } from '../memory.js';
import type { Phase } from '../phases.js';
import { labelIn, type Pass } from '../training.js';

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
  onEach(pass: Pass, phase: Phase, streams: readonly number[], work: (gpu: number) => TaskWork): number[] {
    const label = labelIn(pass, phase);
    return this.each((gpu) => this.builder.addTaskOn([streams[gpu]], label, work(gpu)));
  }

  /** One task of all GPUs at once. */
  collective(pass: Pass, phase: Phase, work: TaskWork): number {
    return this.builder.addTaskOn(this.collectives, labelIn(pass, phase), work);
  }

  /** A collective beside the others, on a communicator of its own. */
  reduction(pass: Pass, phase: Phase, work: TaskWork): number {
    return this.builder.addTaskOn(this.reductions, labelIn(pass, phase), work);
  }

  /** Messages into every GPU, which begin together. */
  messagesIntoEach(
    pass: Pass,
    phase: Phase,
    after: readonly number[],
    work: (gpu: number) => TaskWork,
  ): number[] {
    const label = labelIn(pass, phase);
    const barrier = this.builder.addTask({ streams: this.messages, after, label });
    return this.each((gpu) =>
      this.builder.addTaskOn([this.messages[gpu]], label, { ...work(gpu), after: [barrier] }),
    );
  }

  private streams(name: string): number[] {
    return this.each((gpu) => this.builder.addStream(gpu, name));
  }
}
