import type { BackgroundMove, Placement } from '../balancing/index.js';
import { MemoryLedger } from '../engine/index.js';
import { bitsOf, expertWeights } from '../hardware/index.js';
import type { Machine } from './machine.js';

/** Categories of the memory ledger, in its order. */
export const MEMORY_CATEGORIES = [
  'weights',
  'replicas',
  'borrowedWeights',
  'staging',
  'activations',
  'dispatchBuffers',
  'intermediates',
  'combineBuffers',
] as const;

/** Categories of what lasts from layer to layer. */
const RESIDENT = ['weights', 'replicas', 'staging'] as const;

export type MemoryCategory = (typeof MEMORY_CATEGORIES)[number];

/** Ledger account of a GPU's category. */
export function accountOf(gpu: number, category: MemoryCategory): number {
  return gpu * MEMORY_CATEGORIES.length + MEMORY_CATEGORIES.indexOf(category);
}

/** Device memory that no tensor gets: CUDA context, NCCL buffers, libraries. A first guess. */
export const NON_TENSOR_BYTES = 1.5e9;

/** What a caching allocator holds beyond what is in use, as a share of it. A first guess. */
export const FRAGMENTATION_SHARE = 0.08;

/** A ledger with one pool per GPU; tensors may use what the driver and the libraries leave. */
export function newLedger({ cluster }: Machine): MemoryLedger {
  const limits = new Float64Array(cluster.gpus).fill(cluster.gpu.memoryBytes - NON_TENSOR_BYTES);
  return new MemoryLedger(cluster.gpus, MEMORY_CATEGORIES.length, limits);
}

/** Bytes of one expert's weights. */
export function expertBytes({ shape }: Machine, bits: number): number {
  return Math.ceil((expertWeights(shape) * bits) / 8);
}

/**
 * The experts that are resident on every GPU: those of its slots, or (`all`) every expert once plus its
 * replicas, as in a benchmark that loads the whole layer on every GPU. With `staging`, beside them a buffer of the
 * size of one layer's slots, into which the weights of coming placements travel.
 */
export class Residency {
  private inForce: Placement | null = null;
  private readonly levels = new WeakMap<Placement, Float64Array>();
  /** Staging of the layer at hand, bytes by GPU. */
  private readonly staged: Float64Array;

  constructor(
    private readonly machine: Machine,
    private readonly ledger: MemoryLedger,
    private readonly experts: 'home' | 'all',
    private readonly staging: boolean,
    private readonly shared = false,
  ) {
    this.staged = new Float64Array(machine.cluster.gpus);
  }

  /** Brings the ledger to the resident level of a placement. */
  apply(placement: Placement, time: number): void {
    if (placement === this.inForce) return;
    this.inForce = placement;
    const levels = this.levelsOf(placement);
    // Slots are overwritten in place: what a category loses is free before another one grows.
    for (const grows of [false, true]) {
      for (let gpu = 0; gpu < placement.gpus; gpu++) {
        RESIDENT.forEach((category, i) => {
          const account = accountOf(gpu, category);
          const more = levels[RESIDENT.length * gpu + i] - this.ledger.usedBy(account);
          if (more > 0 === grows) this.level(account, more, time);
        });
      }
    }
  }

  /** Staging for weights that arrive beside a layer, where no buffer is kept for them; ends with `unstage`. */
  stage({ move, share }: BackgroundMove, time: number): void {
    for (const { destination, bits } of move.loads) {
      this.staged[destination] += Math.ceil(expertBytes(this.machine, bits) * share);
    }
    this.staged.forEach((bytes, gpu) => {
      if (bytes > 0) this.ledger.allocate(accountOf(gpu, 'staging'), bytes, time);
    });
  }

  /** Frees what `stage` took. */
  unstage(): void {
    this.staged.forEach((bytes, gpu) => {
      if (bytes > 0) this.ledger.free(accountOf(gpu, 'staging'), bytes);
    });
    this.staged.fill(0);
  }

  /** Resident bytes of a GPU under a placement. */
  bytesOn(placement: Placement, gpu: number): number {
    const levels = this.levelsOf(placement);
    return levels[3 * gpu] + levels[3 * gpu + 1] + levels[3 * gpu + 2];
  }

  private level(account: number, more: number, time: number): void {
    if (more > 0) this.ledger.allocate(account, more, time);
    else this.ledger.free(account, -more);
  }

  /** [weights, replicas, staging] by GPU. */
  private levelsOf(placement: Placement): Float64Array {
    let levels = this.levels.get(placement);
    if (levels) return levels;
    levels = new Float64Array(3 * placement.gpus);
    const { gpus, firstSlot, slotExpert, slotBits, home } = placement;
    let all = 0;
    const atHome = new Uint8Array(home.length);
    for (let gpu = 0; gpu < gpus; gpu++) {
      for (let slot = firstSlot[gpu]; slot < firstSlot[gpu + 1]; slot++) {
        const bytes = expertBytes(this.machine, slotBits[slot]);
        const expert = slotExpert[slot];
        if (home[expert] === gpu && !atHome[expert]) {
          atHome[expert] = 1;
          levels[3 * gpu] += bytes;
          all += bytes;
        } else levels[3 * gpu + 1] += bytes;
        if (this.staging) levels[3 * gpu + 2] += bytes;
      }
    }
    if (this.experts === 'all') for (let gpu = 0; gpu < gpus; gpu++) levels[3 * gpu] = all;
    if (this.shared) {
      const { sharedExperts, weightDtype } = this.machine.shape;
      const bytes = sharedExperts * expertBytes(this.machine, bitsOf(weightDtype));
      for (let gpu = 0; gpu < gpus; gpu++) levels[3 * gpu] += bytes;
    }
    this.levels.set(placement, levels);
    return levels;
  }
}
