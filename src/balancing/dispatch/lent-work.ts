import { Slices, WeightTransfers } from '../plan.js';

/**
 * Who computes how many copies of each expert where other GPUs help its home, as quotas; and the slices and weight
 * transfers that they come to. Used batch after batch.
 */
export class LentWork {
  readonly slices: Slices;
  readonly transfers: WeightTransfers;
  /** Copies that helpers compute, [expert · gpus + gpu]; the home computes the rest. */
  readonly lent: Int32Array;
  private readonly quota: Int32Array;
  private readonly own: Int32Array;
  /** 1 where the weights of the expert at hand go already. */
  private readonly sent: Uint8Array;

  constructor(
    private readonly gpus: number,
    private readonly experts: number,
  ) {
    this.slices = new Slices(4 * gpus);
    this.transfers = new WeightTransfers(4 * gpus);
    this.lent = new Int32Array(experts * gpus);
    this.quota = new Int32Array(gpus);
    this.own = new Int32Array(gpus);
    this.sent = new Uint8Array(gpus);
  }

  clear(): void {
    this.lent.fill(0);
    this.slices.count = 0;
    this.transfers.count = 0;
  }

  /** Lends copies of an expert to a GPU that is not its home. */
  lend(expert: number, gpu: number, copies: number): void {
    this.lent[expert * this.gpus + gpu] += copies;
  }

  /** Copies of an expert that a GPU was lent. */
  lentTo(expert: number, gpu: number): number {
    return this.lent[expert * this.gpus + gpu];
  }

  /**
   * Writes slices, and one transfer for every pair of an expert and a helper. A source's copies are computed on its
   * own GPU as far as that has a quota, then go to the GPUs with quotas left, in their order.
   * @param counts [source · experts + expert]
   * @param home GPU by expert
   * @returns whether anything was lent
   */
  divide(counts: Int32Array, loads: ArrayLike<number>, home: Int32Array): boolean {
    const { gpus, lent } = this;
    for (let e = 0; e < this.experts; e++) {
      let away = 0;
      for (let gpu = 0; gpu < gpus; gpu++) away += lent[e * gpus + gpu];
      if (away > 0) this.divideExpert(e, counts, loads[e] - away, home[e]);
    }
    return this.slices.count > 0;
  }

  private divideExpert(expert: number, counts: Int32Array, kept: number, home: number): void {
    const { gpus, experts, quota, own, slices, sent } = this;
    for (let gpu = 0; gpu < gpus; gpu++) {
      const all = gpu === home ? kept : this.lentTo(expert, gpu);
      own[gpu] = Math.min(all, counts[gpu * experts + expert]);
      quota[gpu] = all - own[gpu];
    }
    sent.fill(0);
    let position = 0;
    let next = 0;
    for (let source = 0; source < gpus; source++) {
      let left = counts[source * experts + expert];
      const take = (gpu: number, copies: number) => {
        if (copies === 0) return;
        slices.add(expert, gpu, position, position + copies);
        if (gpu !== home && !sent[gpu]) this.transfers.add(expert, home, gpu, position, position + copies);
        sent[gpu] = 1;
        position += copies;
        left -= copies;
      };
      take(source, own[source]);
      while (left > 0) {
        while (quota[next] === 0) next++;
        const copies = Math.min(left, quota[next]);
        quota[next] -= copies;
        take(next, copies);
      }
    }
  }
}
