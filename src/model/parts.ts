import { bitsOf, type Dtype } from '../hardware/index.js';
import type { MoeShape } from './shape.js';

/** A product of every row with a matrix of k × n weights. */
export interface Product {
  k: number;
  n: number;
  dtype: Dtype;
  /** Independent products of this size in one call (one per head), each with rows of its own; default 1. */
  matrices?: number;
}

/** A shape that says everything of the model: its attention, dense layers and vocabulary. */
export interface WholeModel extends MoeShape {
  attention: NonNullable<MoeShape['attention']>;
  vocabulary: number;
  denseHiddenSize: number;
  denseDtype: Dtype;
  kvDtype: Dtype;
}

/**
 * The shape with its defaults, if it says what scope `model` needs.
 * @throws RangeError that names what is missing
 */
export function wholeModel(shape: MoeShape): WholeModel {
  const { attention, vocabulary, denseLayers, denseHiddenSize, denseDtype, kvDtype } = shape;
  const missing = [
    ...(attention === undefined ? ['attention'] : []),
    ...(vocabulary === undefined ? ['vocabulary'] : []),
    ...(denseLayers > 0 && denseHiddenSize === undefined ? ['denseHiddenSize'] : []),
  ];
  if (missing.length > 0) {
    throw new RangeError(
      `found no ${missing.join(', no ')}, allowed: a shape that says them, which scope model needs`,
    );
  }
  return {
    ...shape,
    attention: attention!,
    vocabulary: vocabulary!,
    denseHiddenSize: denseHiddenSize ?? 0,
    denseDtype: denseDtype ?? (shape.weightDtype === 'fp8' ? 'fp8' : 'bf16'),
    kvDtype: kvDtype ?? 'bf16',
  };
}

/**
 * The part of a model that each of `size` GPUs computes that share its tokens (tensor parallelism): heads, the hidden
 * widths of dense layers and shared experts, and the vocabulary are divided. Key and value heads that are fewer than
 * the GPUs are repeated, as MLA's latents are, whose projections every GPU computes itself.
 * @throws RangeError where heads can't be divided
 */
export function slicedModel(model: WholeModel, size: number): WholeModel {
  const { attention, denseHiddenSize, sharedExperts, vocabulary } = model;
  const { heads } = attention;
  if (heads % size !== 0) {
    throw new RangeError(`found ${size}, allowed: a divisor of the ${heads} heads`);
  }
  return {
    ...model,
    attention:
      attention.kind === 'gqa'
        ? { ...attention, heads: heads / size, kvHeads: Math.max(1, attention.kvHeads / size) }
        : { ...attention, heads: heads / size },
    denseHiddenSize: denseHiddenSize / size,
    sharedExperts: sharedExperts / size,
    vocabulary: vocabulary / size,
  };
}

/** Layers of the model, those without experts first, and whether each one's attention has the window. */
export function layersOf({ denseLayers, moeLayers, attention }: WholeModel): { windowed: boolean }[] {
  const hasWindow = attention.kind === 'gqa' && attention.window !== undefined;
  const every = attention.kind === 'gqa' ? (attention.windowEvery ?? 1) : 1;
  return Array.from({ length: denseLayers + moeLayers }, (_, layer) => ({
    windowed: hasWindow && layer % every === 0,
  }));
}

/**
 * Products of one layer's attention for every token. In prefill MLA multiplies its latents up to keys and values of
 * every head; in decode it is absorbed: queries go down to the latents instead, and results come up from them
 * (DeepSeek-V2, arXiv 2405.04434, §2.1). @returns those of new tokens, and those of cached tokens besides
 */
export function attentionProducts(
  { attention, hiddenSize, denseDtype: dtype }: WholeModel,
  phase: 'prefill' | 'decode',
): { perToken: Product[]; perCachedToken: Product[] } {
  if (attention.kind === 'gqa') {
    const { heads, kvHeads, headSize } = attention;
    return {
      perToken: [
        { k: hiddenSize, n: (heads + 2 * kvHeads) * headSize, dtype },
        { k: heads * headSize, n: hiddenSize, dtype },
      ],
      perCachedToken: [],
    };
  }
  const { heads, kvRank, queryRank, ropeSize, nopeSize, valueSize } = attention;
  const queries = heads * (nopeSize + ropeSize);
  const down = (queryRank ?? queries) + kvRank + ropeSize;
  const up: Product = { k: kvRank, n: heads * (nopeSize + valueSize), dtype };
  return {
    perToken: [
      { k: hiddenSize, n: down, dtype },
      ...(queryRank === null ? [] : [{ k: queryRank, n: queries, dtype }]),
      ...(phase === 'prefill'
        ? [up]
        : [
            { k: nopeSize, n: kvRank, dtype, matrices: heads },
            { k: kvRank, n: valueSize, dtype, matrices: heads },
          ]),
      { k: heads * valueSize, n: hiddenSize, dtype },
    ],
    perCachedToken: phase === 'prefill' ? [up] : [],
  };
}

/** FLOP of one token that looks at one position, in one layer: a product of its key, and one with its value. */
export function flopPerPair({ attention }: WholeModel, phase: 'prefill' | 'decode'): number {
  if (attention.kind === 'gqa') return 4 * attention.heads * attention.headSize;
  const { heads, kvRank, ropeSize, nopeSize, valueSize } = attention;
  const absorbed = kvRank + ropeSize + kvRank;
  return 2 * heads * (phase === 'decode' ? absorbed : nopeSize + ropeSize + valueSize);
}

/** Bytes of keys and values (or their latents) of one token in one layer. */
export function kvBytes({ attention, kvDtype }: WholeModel): number {
  const elements =
    attention.kind === 'gqa'
      ? 2 * attention.kvHeads * attention.headSize
      : attention.kvRank + attention.ropeSize;
  return (elements * bitsOf(kvDtype)) / 8;
}

/**
 * Positions that a causal sequence of `tokens` new tokens after `before` cached ones looks at, in all.
 * @param window positions that a token sees at most, itself included
 */
export function pairsOf(tokens: number, before: number, window = Infinity): number {
  // The first tokens see all that is before them, the others a full window.
  const growing = Math.min(tokens, Math.max(0, window - before));
  const full = tokens - growing;
  return growing * before + (growing * (growing + 1)) / 2 + (full > 0 ? full * window : 0);
}

/** Gate and up together, then down, of width `hidden`: a dense layer's FFN, or shared experts. */
export function gatedProducts({ hiddenSize, denseDtype: dtype }: WholeModel, hidden: number): Product[] {
  return hidden === 0
    ? []
    : [
        { k: hiddenSize, n: 2 * hidden, dtype },
        { k: hidden, n: hiddenSize, dtype },
      ];
}

/** The product that makes logits, in 16 bits whatever the rest of the model is in. */
export function headProduct({ hiddenSize, vocabulary }: WholeModel): Product {
  return { k: hiddenSize, n: vocabulary, dtype: 'bf16' };
}

/**
 * Bytes of all weights but those of routed experts: attention, dense FFNs, shared experts and routers of all layers,
 * embedding and head (two tables of 16 bits).
 */
export function weightBytes(model: WholeModel): number {
  return Math.ceil(sumOfOthers(model, bitsOf) / 8);
}

/** How many weights those are. */
export function otherWeights(model: WholeModel): number {
  return sumOfOthers(model, () => 1);
}

/** @param each what one weight of a format counts */
function sumOfOthers(model: WholeModel, each: (dtype: Dtype) => number): number {
  const { denseLayers, moeLayers, denseHiddenSize, sharedExperts, expertHiddenSize, hiddenSize, experts } =
    model;
  const sum = (products: readonly Product[]) =>
    products.reduce((all, { k, n, dtype, matrices = 1 }) => all + matrices * k * n * each(dtype), 0);
  const attention = sum(attentionProducts(model, 'decode').perToken);
  const dense = sum(gatedProducts(model, denseHiddenSize));
  const shared = sum(gatedProducts(model, sharedExperts * expertHiddenSize));
  const router = hiddenSize * experts * each('bf16');
  return (
    (denseLayers + moeLayers) * attention +
    denseLayers * dense +
    moeLayers * (shared + router) +
    2 * sum([headProduct(model)])
  );
}

/** Bytes that one token's queries, keys, values and results take while attention runs, in 16 bits. */
export function workspaceBytes({ attention, hiddenSize }: WholeModel, phase: 'prefill' | 'decode'): number {
  const width = () => {
    if (attention.kind === 'gqa') return (2 * attention.heads + 2 * attention.kvHeads) * attention.headSize;
    const { heads, kvRank, ropeSize, nopeSize, valueSize } = attention;
    return phase === 'decode'
      ? heads * (kvRank + ropeSize + kvRank)
      : heads * (2 * (nopeSize + ropeSize) + 2 * valueSize);
  };
  // Beside them the stream between layers and its normed copy.
  return 2 * (width() + 2 * hiddenSize);
}
