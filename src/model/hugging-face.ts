import type { Dtype } from '../hardware/index.js';
import type { ShapeInput } from './shape.js';

/**
 * Names under which families of models keep a field, in the order of preference. `intermediate_size` is the
 * width of an expert only where the family has no name of its own for that.
 */
const FIELDS = {
  hiddenSize: ['hidden_size'],
  expertHiddenSize: ['moe_intermediate_size', 'intermediate_size'],
  experts: ['n_routed_experts', 'num_experts', 'num_local_experts'],
  topK: ['num_experts_per_tok', 'experts_per_token', 'num_experts_per_token'],
  layers: ['num_hidden_layers'],
} as const;

type Config = Record<string, unknown>;

/**
 * Reads a Hugging Face config.json of a Mixture-of-Experts model.
 * @throws RangeError that names every field that is missing, or the first one that is no whole number ≥ 1
 */
export function shapeFromConfig(config: unknown): ShapeInput {
  const outer = asObject(config);
  const c = { ...outer, ...asObject(outer.text_config) };
  const missing = Object.values(FIELDS).filter((names) => names.every((name) => c[name] == null));
  if (missing.length > 0) {
    throw new RangeError(
      `found no ${missing.map((names) => names.join(' or ')).join(', no ')}, allowed: the config of a ` +
        'Mixture-of-Experts model',
    );
  }
  const first = (names: readonly string[]) =>
    count(
      c,
      names.find((name) => c[name] != null)!,
    );
  const layers = first(FIELDS.layers);
  const expertHiddenSize = first(FIELDS.expertHiddenSize);
  const denseLayers = countDenseLayers(c, layers);
  return {
    name: typeof c.model_type === 'string' ? c.model_type : undefined,
    hiddenSize: first(FIELDS.hiddenSize),
    expertHiddenSize,
    experts: first(FIELDS.experts),
    topK: first(FIELDS.topK),
    moeLayers: layers - denseLayers,
    sharedExperts:
      number(c, 'n_shared_experts') ??
      Math.round((number(c, 'shared_expert_intermediate_size') ?? 0) / expertHiddenSize),
    weightDtype: weightDtype(c),
    routerGroups: number(c, 'n_group') ?? 1,
    topGroups: number(c, 'topk_group') ?? 1,
    attention: attention(c),
    denseLayers,
    denseHiddenSize: denseLayers > 0 ? number(c, 'intermediate_size') : undefined,
    vocabulary: number(c, 'vocab_size'),
  };
}

function countDenseLayers(c: Config, layers: number): number {
  const leading = number(c, 'first_k_dense_replace') ?? 0;
  const every = number(c, 'moe_layer_freq') ?? number(c, 'decoder_sparse_step') ?? 1;
  const listed = Array.isArray(c.mlp_only_layers) ? c.mlp_only_layers : [];
  let dense = 0;
  for (let layer = 0; layer < layers; layer++) {
    // DeepSeek counts the frequency from layer 0, Qwen from layer 1.
    const phase = c.decoder_sparse_step === undefined ? layer : layer + 1;
    if (layer < leading || phase % every !== 0 || listed.includes(layer)) dense++;
  }
  return dense;
}

function weightDtype(c: Config): Dtype {
  const quantization = asObject(c.quantization_config);
  const method = text(quantization.quant_method).toLowerCase();
  if (method.includes('mxfp4')) return 'mxfp4';
  if (method.includes('nvfp4') || method.includes('modelopt_fp4')) return 'nvfp4';
  if (method.includes('fp8')) return 'fp8';
  const bits = quantization.bits ?? quantization.num_bits;
  if (bits === 4) return 'int4';
  if (bits === 8) return 'int8';
  const declared = text(c.dtype ?? c.torch_dtype ?? 'bfloat16');
  if (declared.includes('float16') && !declared.includes('bfloat16')) return 'fp16';
  return declared === 'float32' ? 'fp32' : 'bf16';
}

function attention(c: Config): ShapeInput['attention'] {
  const heads = number(c, 'num_attention_heads');
  if (heads === undefined) return undefined;
  const kvRank = number(c, 'kv_lora_rank');
  if (kvRank !== undefined) {
    const ropeSize = number(c, 'qk_rope_head_dim');
    const nopeSize = number(c, 'qk_nope_head_dim');
    const valueSize = number(c, 'v_head_dim');
    if (ropeSize === undefined || nopeSize === undefined || valueSize === undefined) return undefined;
    return {
      kind: 'mla',
      heads,
      kvRank,
      queryRank: number(c, 'q_lora_rank') ?? null,
      ropeSize,
      nopeSize,
      valueSize,
    };
  }
  return {
    kind: 'gqa',
    heads,
    kvHeads: number(c, 'num_key_value_heads') ?? heads,
    headSize: number(c, 'head_dim') ?? Math.round(number(c, 'hidden_size')! / heads),
    ...slidingWindow(c),
  };
}

/** The window of attention and how many layers have it. */
function slidingWindow(c: Config): { window?: number; windowEvery?: number } {
  const window = number(c, 'sliding_window');
  if (window === undefined || c.use_sliding_window === false) return {};
  const types: unknown[] = Array.isArray(c.layer_types) ? c.layer_types : [];
  const windowed = types.filter((type) => type === 'sliding_attention').length;
  return windowed > 0 ? { window, windowEvery: Math.round(types.length / windowed) } : { window };
}

function asObject(value: unknown): Config {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Config) : {};
}

function number(c: Config, name: string): number | undefined {
  const value = c[name];
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}

/** @throws RangeError where a field that must be there is no whole number ≥ 1 */
function count(c: Config, name: string): number {
  const value = c[name];
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1) return value;
  throw new RangeError(`${name}: found ${JSON.stringify(value)}, allowed: a whole number ≥ 1`);
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
