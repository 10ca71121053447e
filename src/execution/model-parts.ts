import { attentionSeconds, productSeconds } from '../hardware/index.js';
import {
  attentionProducts,
  flopPerPair,
  gatedProducts,
  headProduct,
  kvBytes,
  layersOf,
  pairsOf,
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

/**
 * Seconds and bytes of what of a model is no MoE layer, by GPU, on the compute stream: every GPU computes attention,
 * dense layers, shared experts and head for its own tokens (data-parallel attention).
 */
export class ModelParts {
  /** Seconds of head and embedding, and bytes of the largest transient buffer outside the MoE parts, by GPU. */
  readonly head: Float64Array;
  readonly workspace: Float64Array;
  private readonly attention: [full: Float64Array, windowed: Float64Array];
  private readonly dense: Float64Array;
  private readonly shared: Float64Array;
  private readonly known = new Map<string, GpuParts>();

  constructor(
    private readonly machine: Machine,
    private readonly model: WholeModel,
    private readonly contexts: Contexts,
  ) {
    const byGpu = () => new Float64Array(machine.cluster.gpus);
    this.attention = [byGpu(), byGpu()];
    [this.dense, this.shared, this.head, this.workspace] = [byGpu(), byGpu(), byGpu(), byGpu()];
  }

  /** Takes the tokens of a step. */
  take(tokensBySource: ArrayLike<number>): void {
    const { kvTokens } = this.contexts;
    for (let gpu = 0; gpu < kvTokens.length; gpu++) {
      const key = `${tokensBySource[gpu]}/${kvTokens[gpu]}`;
      let parts = this.known.get(key);
      if (!parts) this.known.set(key, (parts = this.partsOf(tokensBySource[gpu], kvTokens[gpu])));
      this.attention[0][gpu] = parts.attention[0];
      this.attention[1][gpu] = parts.attention[1];
      this.dense[gpu] = parts.dense;
      this.shared[gpu] = parts.shared;
      this.head[gpu] = parts.head;
      this.workspace[gpu] = Math.max(parts.workspace, parts.logits);
    }
  }

  /**
   * What stands before the MoE part of a layer, for the tokens taken last.
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

  /** Bytes of the KV cache of a GPU that holds so many tokens, a step's own included in prefill. */
  cacheBytes(tokens: number, gpu: number): number {
    const { model, contexts } = this;
    const { phase, kvTokens } = contexts;
    const held = kvTokens[gpu] + (phase === 'prefill' ? tokens : 0);
    const sequences = phase === 'prefill' ? this.promptsOf(tokens).length : tokens;
    const perLayer = layersOf(model).map(({ windowed }) =>
      windowed ? Math.min(held, sequences * this.window) : held,
    );
    return Math.ceil(kvBytes(model) * perLayer.reduce((sum, cached) => sum + cached, 0));
  }

  /** Bytes that one more token takes in the cache, beyond the window of layers that have one. */
  get cacheBytesPerToken(): number {
    const layers = layersOf(this.model);
    const full = layers.filter(({ windowed }) => !windowed).length;
    return kvBytes(this.model) * (full > 0 ? full : layers.length);
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
    return {
      attention: [this.attentionOf(tokens, cached, false), this.attentionOf(tokens, cached, true)],
      dense: this.products(gatedProducts(model, denseHiddenSize), tokens),
      shared: this.products(gatedProducts(model, sharedExperts * expertHiddenSize), tokens),
      head: this.products([headProduct(model)], rows) + embedding,
      workspace: Math.ceil(
        (tokens + (contexts.phase === 'prefill' ? cached : 0)) * workspaceBytes(model, contexts.phase),
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
    return products.reduce((sum, { k, n, dtype }) => sum + productSeconds(gpu, rows, k, n, dtype), 0);
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
