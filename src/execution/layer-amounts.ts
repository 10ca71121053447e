import type { Placement } from '../balancing/index.js';
import { PortLoads, type Exchange, type StageLoad } from '../hardware/index.js';
import type { LayerInput } from './runtime.js';
import { WeightMessages } from './weight-messages.js';

/**
 * What one layer of one micro-batch moves and computes: copied from its plan, which ends with the next decision, and
 * kept until its backward pass.
 */
export class LayerAmounts {
  placement: Placement | null = null;
  /** Copies from each source to each GPU, and what that puts on the ports. */
  readonly sent: Exchange;
  readonly messages: WeightMessages;
  /** By GPU: rows computed, tokens, experts borrowed, and experts with rows. */
  readonly rows: Float64Array;
  readonly roundedRows: Float64Array;
  readonly tokens: Float64Array;
  readonly borrowed: Float64Array;
  readonly active: Float64Array;

  /**
   * @param experts of the layer
   * @param weights of one expert
   */
  constructor(gpus: number, gpusPerNode: number, experts: number, weights: number) {
    this.sent = { copies: new Float64Array(gpus * gpus), ports: new PortLoads(gpus, gpusPerNode) };
    this.messages = new WeightMessages(experts + gpus, weights, true);
    this.rows = new Float64Array(gpus);
    this.roundedRows = new Float64Array(gpus);
    this.tokens = new Float64Array(gpus);
    this.borrowed = new Float64Array(gpus);
    this.active = new Float64Array(gpus);
  }

  /** @throws Error where slots differ in their bits: nothing of that can be trained */
  take({ plan, work, tokensBySource }: Omit<LayerInput, 'ports' | 'leading'>): void {
    const { sent, rows } = this;
    if (plan.placement.mixed) throw new Error('a placement of mixed precision is not trained');
    this.placement = plan.placement;
    sent.copies.set(work.send);
    sent.ports.count(sent.copies);
    this.messages.take(plan);
    rows.set(work.rows.subarray(0, rows.length));
    this.roundedRows.set(work.roundedRows.subarray(0, rows.length));
    this.active.set(work.activeExperts.subarray(0, rows.length));
    this.borrowed.set(work.borrowed);
    for (let gpu = 0; gpu < rows.length; gpu++) this.tokens[gpu] = tokensBySource[gpu];
  }

  /** What the experts of a GPU compute. */
  loadOn(gpu: number): StageLoad {
    const { firstSlot } = this.placement!;
    return {
      roundedRows: this.roundedRows[gpu],
      active: this.active[gpu],
      borrowed: this.borrowed[gpu],
      rows: this.rows[gpu],
      slots: firstSlot[gpu + 1] - firstSlot[gpu],
    };
  }
}
