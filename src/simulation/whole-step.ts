import {
  ModelParts,
  type Contexts,
  type GpuTokens,
  type LeadingSeconds,
  type Machine,
  type Runtime,
} from '../execution/index.js';
import { layersOf, wholeModel } from '../model/index.js';

/** Layers of the model that take the same time: one is simulated, and counts as all of them. */
export interface Stretch {
  layers: number;
  leading: LeadingSeconds | null;
}

/** A layer that stands for itself, and begins with its MoE part. */
export const ALONE: readonly Stretch[] = [{ layers: 1, leading: null }];

/**
 * A step of scope `model`: which of the model's layers each layer of the routing stands for, and what every GPU
 * computes between them. Where the routing has fewer layers than the model, each stands for as many in a row.
 */
export class WholeStep {
  /** Layers of the model by layer of the routing. */
  readonly standsFor: readonly number[];
  private readonly parts: ModelParts;
  private readonly kinds: readonly (readonly { layers: number; windowed: boolean; first: boolean }[])[];
  private readonly inFront: readonly { windowed: boolean }[];
  private stretchesNow: Stretch[][] = [];
  private tokens: Int32Array | null = null;
  private first: Int32Array = new Int32Array(0);

  /**
   * @param routedLayers layers of the routing
   * @throws RangeError where the shape lacks what this needs
   */
  constructor(
    machine: Machine,
    { attentionTensorParallel = 1, parts: batchParts = 1 }: Runtime,
    contexts: Contexts,
    routedLayers: number,
  ) {
    const model = wholeModel(machine.shape);
    this.parts = new ModelParts(machine, model, contexts, { attentionTensorParallel, batchParts });
    const layers = layersOf(model);
    this.inFront = layers.slice(0, model.denseLayers);
    const kinds = Array.from({ length: routedLayers }, () => new Map<string, Kind>());
    layers.slice(model.denseLayers).forEach(({ windowed }, i) => {
      const first = i === 0;
      const of = kinds[Math.floor((i * routedLayers) / model.moeLayers)];
      const key = `${windowed}/${first}`;
      const known = of.get(key);
      if (known) known.layers++;
      else of.set(key, { layers: 1, windowed, first });
    });
    this.kinds = kinds.map((of) => [...of.values()]);
    this.standsFor = this.kinds.map((of) => of.reduce((sum, { layers }) => sum + layers, 0));
  }

  /** Takes the tokens of the step that comes. */
  start(tokensBySource: Int32Array): void {
    if (this.tokens !== null && this.tokens.every((tokens, gpu) => tokens === tokensBySource[gpu])) return;
    this.tokens = Int32Array.from(tokensBySource);
    if (this.first.length === 0) this.first = this.tokens;
    this.parts.take(tokensBySource);
    this.stretchesNow = this.kinds.map((of) =>
      of.map(({ layers, windowed, first }) => ({
        layers,
        leading: this.parts.leading(windowed, first ? this.inFront : []),
      })),
    );
  }

  stretches(layer: number): readonly Stretch[] {
    return this.stretchesNow[layer];
  }

  /** Bytes of weights outside the routed experts, on every GPU. */
  get otherWeights(): number {
    return this.parts.weightBytes;
  }

  /** Seconds of the head by GPU, after the last layer. */
  get head(): Float64Array {
    return this.parts.head;
  }

  /** What the times of this step's parts outside the MoE layers come from. */
  tokensOf(gpu: number): GpuTokens {
    return this.parts.tokensOf(gpu);
  }

  /** Bytes by GPU of the largest buffer outside the MoE parts, which stands before them or after them. */
  get workspace(): Float64Array {
    return this.parts.workspace;
  }

  /** Bytes of the KV cache of a GPU, laid out for the tokens of the first step. */
  cacheBytes(gpu: number): number {
    return this.parts.cacheBytes(this.first, gpu);
  }

  /** Tokens in the fullest KV cache. */
  get heldTokens(): number {
    return this.first.reduce((most, _, gpu) => Math.max(most, this.parts.heldTokens(this.first, gpu)), 0);
  }

  /** Bytes of the KV cache that no longer context makes larger, on the GPU that has most of them. */
  get windowBytes(): number {
    return this.first.reduce((most, _, gpu) => Math.max(most, this.parts.windowBytes(this.first, gpu)), 0);
  }

  get cacheBytesPerToken(): number {
    return this.parts.cacheBytesPerToken;
  }
}

interface Kind {
  layers: number;
  windowed: boolean;
  first: boolean;
}
