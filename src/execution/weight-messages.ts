import type { LayerPlan } from '../balancing/index.js';
import type { Messages } from '../hardware/index.js';

/** The weight transfers of a plan as messages; reused from layer to layer. */
export class WeightMessages implements Messages {
  count = 0;
  source: Int32Array;
  destination: Int32Array;
  bytes: Float64Array;

  /**
   * @param capacity messages of a layer to begin with
   * @param weights of one expert; its bits are those of its slots
   * @param distinct send a pair (expert, destination) once, however often the plan lists it
   */
  constructor(
    capacity: number,
    private readonly weights: number,
    private readonly distinct: boolean,
  ) {
    this.source = new Int32Array(capacity);
    this.destination = new Int32Array(capacity);
    this.bytes = new Float64Array(capacity);
  }

  /** Sum of the bytes. */
  get total(): number {
    let sum = 0;
    for (let i = 0; i < this.count; i++) sum += this.bytes[i];
    return sum;
  }

  /** How many of them a GPU sends or receives. */
  ofGpu(gpu: number): number {
    let own = 0;
    for (let i = 0; i < this.count; i++) if (this.source[i] === gpu || this.destination[i] === gpu) own++;
    return own;
  }

  take({ transfers, placement }: LayerPlan): this {
    this.count = 0;
    if (transfers === null) return this;
    const { expert, source, destination, count } = transfers;
    const { slotBits, instance, firstInstance } = placement;
    if (count > this.source.length) {
      this.source = new Int32Array(2 * count);
      this.destination = new Int32Array(2 * count);
      this.bytes = new Float64Array(2 * count);
    }
    for (let i = 0; i < count; i++) {
      if (this.distinct && repeats(expert, destination, i)) continue;
      const at = this.count++;
      this.source[at] = source[i];
      this.destination[at] = destination[i];
      this.bytes[at] = Math.ceil((this.weights * slotBits[instance[firstInstance[expert[i]]]]) / 8);
    }
    return this;
  }
}

/** Whether an earlier transfer carries the same expert to the same GPU; those of an expert stand together. */
function repeats(expert: Int32Array, destination: Int32Array, i: number): boolean {
  for (let j = i - 1; j >= 0 && expert[j] === expert[i]; j--) {
    if (destination[j] === destination[i]) return true;
  }
  return false;
}
