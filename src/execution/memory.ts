import type { BackgroundMove, Placement } from '../balancing/index.js';
import { MemoryLedger } from '../engine/index.js';
import { bitsOf, expertWeights } from '../hardware/index.js';
import type { Machine } from './machine.js';

/** Categories of what a MoE layer needs. */
export const LAYER_CATEGORIES = [
  'weights',
  'replicas',
  'borrowedWeights',
  'staging',
  'communicationBuffers',
  'activations',
  'dispatchBuffers',
  'intermediates',
  'combineBuffers',
] as const;

/** Categories of scope `model`, and of training. */
export const MODEL_CATEGORIES = [...LAYER_CATEGORIES, 'otherWeights', 'kvCache'] as const;
export const TRAINING_CATEGORIES = [
  ...LAYER_CATEGORIES,
  'savedForBackward',
  'gradients',
  'optimizer',
] as const;

/** Categories of the memory ledger, in its order. */
export const MEMORY_CATEGORIES = [...MODEL_CATEGORIES, 'savedForBackward', 'gradients', 'optimizer'] as const;

/** Categories of what lasts from layer to layer. */
const RESIDENT = [
  'weights',
  'replicas',
  'staging',
  'communicationBuffers',
  'gradients',
  'optimizer',
] as const;

/** What training keeps of every weight, bytes. */
export interface ResidentTraining {
  /** Gradients that are added up: of every slot. */
  gradient: number;
  /** Of every expert, at its home: states of the optimizer, and its own copy of the weight. */
  optimizer: number;
}

/** Those of them that all layers have together. */
const SHARED: ReadonlySet<string> = new Set(['staging', 'communicationBuffers']);

export type LayerCategory = (typeof LAYER_CATEGORIES)[number];
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

/** What a GPU keeps beside its routed experts. */
export interface KeptBeside {
  /** A buffer of the size of one layer's slots, into which the weights of coming placements travel. */
  staging?: boolean;
  /** The shared experts, where they are part of the layer. */
  sharedExperts?: boolean;
  /** Static buffers for communication, bytes by slots of all GPUs. */
  communicationBytes?: (slots: number) => number;
}

/**
 * The experts that are resident on every GPU: those of its slots, or (`all`) every expert once plus its
 * replicas, as in a benchmark that loads the whole layer on every GPU; and what is kept beside them.
 */
export class Residency {
  /** By layer; a layer that has not come yet is as the one that came first. */
  private readonly inForce: (Placement | null)[];
  private readonly levels = new WeakMap<Placement, Float64Array>();
  private readonly wanted: Float64Array;
  /** Staging of the layer at hand, bytes by GPU. */
  private readonly staged: Float64Array;

  /** @param layers how many layers of the model each simulated layer stands for in memory */
  constructor(
    private readonly machine: Machine,
    private readonly ledger: MemoryLedger,
    private readonly experts: 'home' | 'all',
    private readonly kept: KeptBeside = {},
    private readonly layers: readonly number[] = [1],
    private readonly training: ResidentTraining | null = null,
  ) {
    this.inForce = layers.map(() => null);
    this.wanted = new Float64Array(RESIDENT.length * machine.cluster.gpus);
    this.staged = new Float64Array(machine.cluster.gpus);
  }

  /** Brings the ledger to the resident level of a layer's placement. */
  apply(placement: Placement, time: number, layer = 0): void {
    const { inForce, wanted } = this;
    if (placement === inForce[layer]) return;
    if (!inForce.some(Boolean)) inForce.fill(placement);
    inForce[layer] = placement;
    wanted.fill(0);
    inForce.forEach((placed, i) => this.addLevels(placed!, this.layers[i]));
    // Slots are overwritten in place: what a category loses is free before another one grows.
    for (const grows of [false, true]) {
      for (let gpu = 0; gpu < placement.gpus; gpu++) {
        RESIDENT.forEach((category, i) => {
          const account = accountOf(gpu, category);
          const more = wanted[RESIDENT.length * gpu + i] - this.ledger.usedBy(account);
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

  /** Resident bytes of a GPU under the placements in force. */
  bytesOn(gpu: number): number {
    const first = RESIDENT.length * gpu;
    return this.wanted.subarray(first, first + RESIDENT.length).reduce((sum, bytes) => sum + bytes, 0);
  }

  /** Adds a layer's levels. */
  private addLevels(placement: Placement, times: number): void {
    const { wanted } = this;
    const levels = this.levelsOf(placement);
    for (let i = 0; i < levels.length; i++) {
      const category = RESIDENT[i % RESIDENT.length];
      if (SHARED.has(category)) wanted[i] = Math.max(wanted[i], levels[i]);
      else wanted[i] += times * levels[i];
    }
  }

  private level(account: number, more: number, time: number): void {
    if (more > 0) this.ledger.allocate(account, more, time);
    else this.ledger.free(account, -more);
  }

  /** Bytes by GPU and category, in the order of `RESIDENT`. */
  private levelsOf(placement: Placement): Float64Array {
    let levels = this.levels.get(placement);
    if (levels) return levels;
    const { gpus, firstSlot, slotExpert, slotBits, home } = placement;
    const size = RESIDENT.length;
    levels = new Float64Array(size * gpus);
    const weights = expertWeights(this.machine.shape);
    const gradient = Math.ceil(weights * (this.training?.gradient ?? 0));
    const optimizer = Math.ceil(weights * (this.training?.optimizer ?? 0));
    const communication = Math.ceil(this.kept.communicationBytes?.(slotExpert.length) ?? 0);
    let all = 0;
    const atHome = new Uint8Array(home.length);
    for (let gpu = 0; gpu < gpus; gpu++) {
      levels[size * gpu + 3] = communication;
      for (let slot = firstSlot[gpu]; slot < firstSlot[gpu + 1]; slot++) {
        const bytes = expertBytes(this.machine, slotBits[slot]);
        const expert = slotExpert[slot];
        if (home[expert] === gpu && !atHome[expert]) {
          atHome[expert] = 1;
          levels[size * gpu] += bytes;
          levels[size * gpu + 5] += optimizer;
          all += bytes;
        } else levels[size * gpu + 1] += bytes;
        if (this.kept.staging) levels[size * gpu + 2] += bytes;
        levels[size * gpu + 4] += gradient;
      }
    }
    if (this.experts === 'all') for (let gpu = 0; gpu < gpus; gpu++) levels[size * gpu] = all;
    if (this.kept.sharedExperts) {
      const { sharedExperts, weightDtype } = this.machine.shape;
      const bytes = sharedExperts * expertBytes(this.machine, bitsOf(weightDtype));
      for (let gpu = 0; gpu < gpus; gpu++) levels[size * gpu] += bytes;
    }
    this.levels.set(placement, levels);
    return levels;
  }
}
