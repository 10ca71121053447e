import type { Placement } from '../balancing/index.js';
import { MemoryLedger } from '../engine/index.js';
import { expertWeights } from '../hardware/index.js';
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
  'savedForBackward',
  'gradients',
  'optimizer',
] as const;

/** Categories of what lasts from layer to layer. */
const RESIDENT = ['weights', 'replicas', 'staging', 'gradients', 'optimizer'] as const;

/** What training keeps of every weight, bytes. */
export interface ResidentTraining {
  /** Gradients that are added up: of every slot. */
  gradient: number;
  /** Of every expert, at its home: states of the optimizer, and its own copy of the weight. */
  optimizer: number;
}

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

  constructor(
    private readonly machine: Machine,
    private readonly ledger: MemoryLedger,
    private readonly experts: 'home' | 'all',
    private readonly staging: boolean,
    private readonly training: ResidentTraining | null = null,
  ) {}

  /** Brings the ledger to the resident level of a placement. */
  apply(placement: Placement, time: number): void {
    if (placement === this.inForce) return;
    const before = this.inForce === null ? null : this.levelsOf(this.inForce);
    this.inForce = placement;
    const levels = this.levelsOf(placement);
    // Slots are overwritten in place: what a category loses is free before another one grows.
    for (const grows of [false, true]) {
      for (let gpu = 0; gpu < placement.gpus; gpu++) {
        RESIDENT.forEach((category, i) => {
          const at = RESIDENT.length * gpu + i;
          const more = levels[at] - (before === null ? 0 : before[at]);
          if (more > 0 === grows) this.level(accountOf(gpu, category), more, time);
        });
      }
    }
  }

  /** Resident bytes of a GPU under a placement. */
  bytesOn(placement: Placement, gpu: number): number {
    const levels = this.levelsOf(placement);
    return RESIDENT.reduce((sum, _, i) => sum + levels[RESIDENT.length * gpu + i], 0);
  }

  private level(account: number, more: number, time: number): void {
    if (more > 0) this.ledger.allocate(account, more, time);
    else this.ledger.free(account, -more);
  }

  /** [GPU · categories + category] of the resident ones. */
  private levelsOf(placement: Placement): Float64Array {
    let levels = this.levels.get(placement);
    if (levels) return levels;
    levels = new Float64Array(RESIDENT.length * placement.gpus);
    const weights = expertWeights(this.machine.shape);
    const gradient = Math.ceil(weights * (this.training?.gradient ?? 0));
    const optimizer = Math.ceil(weights * (this.training?.optimizer ?? 0));
    const { gpus, firstSlot, slotExpert, slotBits, home } = placement;
    let all = 0;
    const atHome = new Uint8Array(home.length);
    for (let gpu = 0; gpu < gpus; gpu++) {
      const first = RESIDENT.length * gpu;
      for (let slot = firstSlot[gpu]; slot < firstSlot[gpu + 1]; slot++) {
        const bytes = expertBytes(this.machine, slotBits[slot]);
        const expert = slotExpert[slot];
        if (home[expert] === gpu && !atHome[expert]) {
          atHome[expert] = 1;
          levels[first] += bytes;
          levels[first + 4] += optimizer;
          all += bytes;
        } else levels[first + 1] += bytes;
        if (this.staging) levels[first + 2] += bytes;
        levels[first + 3] += gradient;
      }
    }
    if (this.experts === 'all') {
      for (let gpu = 0; gpu < gpus; gpu++) levels[RESIDENT.length * gpu] = all;
    }
    this.levels.set(placement, levels);
    return levels;
  }
}
