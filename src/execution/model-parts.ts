import { attentionSeconds, productSeconds } from '../hardware/index.js';
import {
  attentionProducts,
  flopPerPair,
  gatedProducts,
  headProduct,
  kvBytes,
  layersOf,
  otherWeights,
  pairsOf,
  slicedModel,
  weightBytes,
  workspaceBytes,
  type Product,
  type WholeModel,
} from '../model/index.js';
import type { LeadingSeconds } from './leading-work.js';
import type { Machine } from './machine.js';

/** What a step looks back at, beside its own tokens. */
export interface Contexts {
  phase: 'prefill' | 'decode';
  /**
   * Tokens in the KV cache by GPU: in decode those of its live sequences, which are as many as its tokens and of one
   * length; in prefill what its prompts have cached already, spread evenly over them.
   */
  kvTokens: Float64Array;
  /** Lengths of prompts in prefill, taken in turn until a GPU's tokens are used up; the last one is cut. */
  promptTokens: readonly number[];
}

/** Elements of D per token that norms, residuals, rotations and quantising move in a layer, and their kernels: assumed. */
const SMALL = { widths: 12, kernels: 4, seconds: 3e-6 } as const;

/** Bytes of a logit. */
const LOGIT_BYTES = 4;

/** One GPU's part of a step. */
interface GpuParts {
  /** Seconds of a layer's attention without and with the window. */
  attention: [full: number, windowed: number];
  dense: number;
  shared: number;
  head: number;
  /** Bytes while attention runs, and while logits stand. */
  workspace: number;
  logits: number;
}

/** What a GPU's times outside the MoE parts come from; a group's tokens are those of all of its GPUs. */
export interface GpuTokens {
  /** Of a step, and in the cache before it. */
  tokens: number;
  cached: number;
  /** Parts that a batch runs in, each with its share of both. */
  parts: number;
  /** Rows of logits that the head makes. */
  logitRows: number;
}

/** How a runtime runs what of a model is no MoE layer. */
export interface PartsSetting {
  /** GPUs (neighbours) that share their tokens, and each compute a slice of everything for all of them. */
  attentionTensorParallel: number;
  /** Parts that a batch runs in: `leading` is what one of them takes. */
  batchParts: number;
}

/**
 * Seconds and bytes of what of a model is no MoE layer, by GPU, on the compute stream: every GPU computes attention,
 * dense layers, shared experts and head for its own tokens (data-parallel attention), or its slice of them for the
 * tokens of its group (tensor-parallel attention).
 */
export class ModelParts {
  /** Bytes of weights outside the routed experts, on every GPU. */
  readonly weightBytes: number;
  /** Seconds of head and embedding, and bytes of the largest transient buffer outside the MoE parts, by GPU. */
  readonly head: Float64Array;
  readonly workspace: Float64Array;
  private readonly attention: [full: Float64Array, windowed: Float64Array];
  private readonly dense: Float64Array;
  private readonly shared: Float64Array;
  private tokens: readonly GpuTokens[] = [];
  private readonly known = new Map<string, GpuParts>();
  /** Of every GPU. */
  private readonly model: WholeModel;

  /** @throws RangeError where a model can't be divided over a group of GPUs */
  constructor(
    private readonly machine: Machine,
    model: WholeModel,
    private readonly contexts: Contexts,
    private readonly setting: PartsSetting = { attentionTensorParallel: 1, batchParts: 1 },
  ) {
    this.model = slicedModel(model, setting.attentionTensorParallel);
    const restBits = machine.precision?.restBits ?? null;
    this.weightBytes =
      restBits === null ? weightBytes(this.model) : Math.ceil((otherWeights(this.model) * restBits) / 8);
    const byGpu = () => new Float64Array(machine.cluster.gpus);
    this.attention = [byGpu(), byGpu()];
    [this.dense, this.shared, this.head, this.workspace] = [byGpu(), byGpu(), byGpu(), byGpu()];
  }

  /** Takes the tokens of a step. */
  take(tokensBySource: ArrayLike<number>): void {
    const { kvTokens } = this.contexts;
    this.tokens = Array.from(kvTokens, (_, gpu) => {
      const tokens = this.sumOfGroup(tokensBySource, gpu);
      return {
        tokens,
        cached: this.sumOfGroup(kvTokens, gpu),
        parts: this.setting.batchParts,
        logitRows: this.logitRows(tokens),
      };
    });
    for (let gpu = 0; gpu < kvTokens.length; gpu++) {
      const { tokens, cached } = this.tokens[gpu];
      const key = `${tokens}/${cached}`;
      let parts = this.known.get(key);
      if (!parts) this.known.set(key, (parts = this.partsOf(tokens, cached)));
      this.attention[0][gpu] = parts.attention[0];
      this.attention[1][gpu] = parts.attention[1];
      this.dense[gpu] = parts.dense;
      this.shared[gpu] = parts.shared;
      this.head[gpu] = parts.head;
      this.workspace[gpu] = Math.max(parts.workspace, parts.logits);
    }
  }

  /** What the times of the tokens taken last come from. */
  tokensOf(gpu: number): GpuTokens {
    return this.tokens[gpu];
  }

  private sumOfGroup(values: ArrayLike<number>, gpu: number): number {
    const { attentionTensorParallel: size } = this.setting;
    const first = gpu - (gpu % size);
    let sum = 0;
    for (let other = first; other < first + size; other++) sum += values[other];
    return sum;
  }

  /**
   * What stands before the MoE part of a layer, for one part of the tokens taken last.
   * @param windowed whether its attention has the window
   * @param before layers without experts in front of it
   */
  leading(windowed: boolean, before: readonly { windowed: boolean }[]): LeadingSeconds {
    const { attention, dense, shared } = this;
    return {
      dense: dense.map((seconds) => before.length * seconds),
      attention: attention[windowed ? 1 : 0].map((seconds, gpu) =>
        before.reduce((sum, layer) => sum + attention[layer.windowed ? 1 : 0][gpu], seconds),
      ),
      shared,
    };
  }

  /** Tokens of a GPU's own in the KV cache, a step's own included in prefill; a group's GPUs count as equal. */
  heldTokens(tokensBySource: ArrayLike<number>, gpu: number): number {
    return this.heldByGroup(tokensBySource, gpu) / this.setting.attentionTensorParallel;
  }

  private heldByGroup(tokensBySource: ArrayLike<number>, gpu: number): number {
    const { phase, kvTokens } = this.contexts;
    const cached = this.sumOfGroup(kvTokens, gpu);
    return cached + (phase === 'prefill' ? this.sumOfGroup(tokensBySource, gpu) : 0);
  }

  /** Bytes of the KV cache of a GPU that holds so many tokens, a step's own included in prefill. */
  cacheBytes(tokensBySource: ArrayLike<number>, gpu: number): number {
    const { model } = this;
    const tokens = this.sumOfGroup(tokensBySource, gpu);
    const held = this.heldByGroup(tokensBySource, gpu);
    const sequences = this.contexts.phase === 'prefill' ? this.promptsOf(tokens).length : tokens;
    const perLayer = layersOf(model).map(({ windowed }) =>
      windowed ? Math.min(held, sequences * this.window) : held,
    );
    return Math.ceil(kvBytes(model) * perLayer.reduce((sum, cached) => sum + cached, 0));
  }

  /** The part of `cacheBytes` that no longer context makes larger: layers with a window, where others have none. */
  windowBytes(tokensBySource: ArrayLike<number>, gpu: number): number {
    const held = this.heldTokens(tokensBySource, gpu);
    return Math.max(0, this.cacheBytes(tokensBySource, gpu) - Math.ceil(held * this.cacheBytesPerToken));
  }

  /**
   * Bytes that one more token of every GPU takes in a GPU's cache, beyond the window of layers that have one: in a
   * group, its slice of the tokens of all.
   */
  get cacheBytesPerToken(): number {
    const layers = layersOf(this.model);
    const full = layers.filter(({ windowed }) => !windowed).length;
    const perToken = kvBytes(this.model) * (full > 0 ? full : layers.length);
    return this.setting.attentionTensorParallel * perToken;
  }

  private get window(): number {
    const { attention } = this.model;
    return attention.kind === 'gqa' ? (attention.window ?? Infinity) : Infinity;
  }

  private partsOf(tokens: number, cached: number): GpuParts {
    const { machine, model, contexts } = this;
    const { profile } = machine.cluster;
    const { denseHiddenSize, sharedExperts, expertHiddenSize, hiddenSize } = model;
    const rows = this.logitRows(tokens);
    const embedding = (2 * tokens * hiddenSize * 2) / profile.gatherBytesPerSecond;
    const own = tokens / this.setting.batchParts;
    const context = cached / this.setting.batchParts;
    return {
      attention: [this.attentionOf(own, context, false), this.attentionOf(own, context, true)],
      dense: this.products(gatedProducts(model, denseHiddenSize), own),
      shared: this.products(gatedProducts(model, sharedExperts * expertHiddenSize), own),
      head: this.products([headProduct(model)], rows) + embedding,
      workspace: Math.ceil(
        (own + (contexts.phase === 'prefill' ? context : 0)) * workspaceBytes(model, contexts.phase),
      ),
      logits: rows * model.vocabulary * LOGIT_BYTES,
    };
  }

  private attentionOf(tokens: number, cached: number, windowed: boolean): number {
    if (tokens === 0) return 0;
    const { machine, model, contexts } = this;
    const { phase } = contexts;
    const { gpu, profile } = machine.cluster;
    const window = windowed ? this.window : Infinity;
    const prompts = phase === 'prefill' ? this.promptsOf(tokens) : null;
    const before = cached / (prompts?.length ?? tokens);
    const pairs = prompts
      ? prompts.reduce((sum, length) => sum + pairsOf(length, before, window), 0)
      : tokens * pairsOf(1, before, window);
    // In decode every position that a token looks at is read; in prefill tiles share what they read.
    const read = prompts ? tokens + cached : pairs;
    const { perToken, perCachedToken } = attentionProducts(model, phase);
    const small =
      SMALL.kernels * SMALL.seconds +
      (SMALL.widths * tokens * model.hiddenSize * 2) / profile.copyBytesPerSecond;
    return (
      this.products(perToken, tokens) +
      this.products(perCachedToken, cached) +
      attentionSeconds(gpu, phase, pairs * flopPerPair(model, phase), read * kvBytes(model)) +
      small
    );
  }

  private products(products: readonly Product[], rows: number): number {
    const { gpu } = this.machine.cluster;
    return products.reduce(
      (sum, { k, n, dtype, matrices }) => sum + productSeconds(gpu, rows, k, n, dtype, matrices),
      0,
    );
  }

  /** Lengths of the prompts, or parts of prompts, that so many tokens are. */
  private promptsOf(tokens: number): number[] {
    const { promptTokens } = this.contexts;
    const prompts: number[] = [];
    for (let left = tokens; left > 0;) {
      const length = Math.min(left, promptTokens[prompts.length % promptTokens.length]);
      prompts.push(length);
      left -= length;
    }
    return prompts;
  }

  /** Rows of logits: of every token in decode, of every prompt's last one in prefill. */
  private logitRows(tokens: number): number {
    return this.contexts.phase === 'decode' ? tokens : this.promptsOf(tokens).length;
  }
}
