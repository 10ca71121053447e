import { BatchParts, LayerWork, type PlannedBatch } from '../balancing/index.js';
import type { LayerInput, LayerPart, LayerProgram, Machine, Runtime } from '../execution/index.js';
import { bitsOf, PortLoads } from '../hardware/index.js';

/** Parts that are alive at once: of a wave that runs in two halves, both. */
const MOST_HALVES = 2;

/**
 * Runs planned batches through a runtime's program: at once, or in waves where a GPU has more tokens than the runtime
 * takes at once; each in one piece or, where the program asks for it, in two halves.
 */
export class BatchRun {
  /** What the exchanges of the last batch put on the ports, in messages. */
  readonly ports: PortLoads;
  /** The plan of the last batch in numbers. */
  readonly work: LayerWork;

  private readonly halves: { work: LayerWork; ports: PortLoads }[];
  private readonly sum: Float64Array;
  private parts: BatchParts | null = null;

  constructor(
    machine: Machine,
    private readonly runtime: Runtime,
    private readonly program: LayerProgram,
  ) {
    const { cluster, shape } = machine;
    const { gpus, gpusPerNode } = cluster;
    const work = () => new LayerWork(gpus, shape.experts, program.rowRounding, bitsOf(shape.weightDtype));
    const ports = () => new PortLoads(gpus, gpusPerNode);
    this.work = work();
    this.ports = ports();
    this.halves = Array.from({ length: MOST_HALVES }, () => ({ work: work(), ports: ports() }));
    this.sum = new Float64Array(gpus * gpus);
  }

  /**
   * @param leading what every GPU computes before the batch
   * @param seed names draws
   * @param onWave called after every wave
   * @returns seconds
   */
  run(batch: PlannedBatch, leading: LayerInput['leading'], seed: () => string, onWave: () => void): number {
    const { program, runtime, work, ports, sum } = this;
    work.expand(batch.plan, batch.base);
    const waves = this.wavesOf(batch.tokensBySource);
    const halves = runtime.parts ?? 1;
    if (waves * halves === 1) {
      ports.count(program.messages?.({ ...batch, work }) ?? work.send);
      const { plan, tokensBySource } = batch;
      program.fill({ plan, work, ports, tokensBySource, leading });
      const seconds = program.executor.run(0);
      onWave();
      return seconds;
    }
    const { gpus, experts, home } = batch.base;
    this.parts ??= new BatchParts(gpus, experts, home);
    const parts = this.parts.cut(batch, waves * halves, seed());
    let seconds = 0;
    sum.fill(0);
    for (let wave = 0; wave < waves; wave++) {
      const inputs = parts
        .slice(wave * halves, (wave + 1) * halves)
        .map((part, half) => this.input(part, half));
      program.fill({
        ...inputs[0],
        halves: halves === 1 ? null : inputs,
        heldTokens: batch.tokensBySource,
        leading: wave === 0 || leading === null ? leading : nothing(gpus),
      });
      seconds += program.executor.run(0);
      onWave();
    }
    ports.count(sum);
    return seconds;
  }

  /** Waves of a batch: as many as its fullest GPU needs. */
  private wavesOf(tokensBySource: ArrayLike<number>): number {
    const { maxTokensPerWave } = this.runtime;
    if (maxTokensPerWave === undefined) return 1;
    let most = 0;
    for (let gpu = 0; gpu < tokensBySource.length; gpu++) most = Math.max(most, tokensBySource[gpu]);
    return Math.max(1, Math.ceil(most / maxTokensPerWave));
  }

  private input(part: PlannedBatch, half: number): LayerPart {
    const { program, sum } = this;
    const { work, ports } = this.halves[half];
    work.expand(part.plan, part.base);
    const messages = program.messages?.({ ...part, work }, half) ?? work.send;
    for (let cell = 0; cell < sum.length; cell++) sum[cell] += messages[cell];
    return { plan: part.plan, work, ports: ports.count(messages), tokensBySource: part.tokensBySource };
  }
}

function nothing(gpus: number): NonNullable<LayerInput['leading']> {
  const zeros = new Float64Array(gpus);
  return { dense: zeros, attention: zeros, shared: zeros };
}
