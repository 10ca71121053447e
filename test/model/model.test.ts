import { describe, expect, it } from 'vitest';
import { expertWeights } from '../../src/hardware/index.js';
import { completeShape, modelPresets, shapeFromConfig, shapeSchema } from '../../src/model/index.js';

const preset = (name: string) => completeShape(shapeSchema.parse(modelPresets[name]));

describe('model presets', () => {
  it.each([
    // Expert parameters in billions, from the models' cards: total minus attention, dense and embeddings.
    ['gpt-oss-20b', 19.1],
    ['gpt-oss-120b', 114.7],
    ['deepseek-v3', 653.9],
    ['kimi-k2', 1014.7],
    ['mixtral-8x7b', 45.1],
    ['qwen3-235b-a22b', 227.1],
  ])('%s has about %d billion expert weights', (name, billions) => {
    const shape = preset(name);
    expect((shape.moeLayers * shape.experts * expertWeights(shape)) / 1e9).toBeCloseTo(billions, 0);
  });

  it('multiplies in fp8 where weights are fp8, else in bf16', () => {
    expect(preset('deepseek-v3').activationDtype).toBe('fp8');
    expect(preset('gpt-oss-120b').activationDtype).toBe('bf16');
  });
});

describe('shapeFromConfig', () => {
  it('reads a DeepSeek-V3 config', () => {
    const shape = shapeFromConfig({
      model_type: 'deepseek_v3',
      hidden_size: 7168,
      intermediate_size: 18432,
      moe_intermediate_size: 2048,
      n_routed_experts: 256,
      n_shared_experts: 1,
      num_experts_per_tok: 8,
      num_hidden_layers: 61,
      first_k_dense_replace: 3,
      moe_layer_freq: 1,
      n_group: 8,
      topk_group: 4,
      num_attention_heads: 128,
      num_key_value_heads: 128,
      kv_lora_rank: 512,
      q_lora_rank: 1536,
      qk_rope_head_dim: 64,
      qk_nope_head_dim: 128,
      v_head_dim: 128,
      quantization_config: { quant_method: 'fp8', weight_block_size: [128, 128] },
      torch_dtype: 'bfloat16',
      vocab_size: 129280,
    });
    expect({ ...shape, name: undefined }).toEqual({ ...modelPresets['deepseek-v3'], name: undefined });
  });

  it('reads a gpt-oss config, whose experts have no width of their own', () => {
    const shape = shapeFromConfig({
      model_type: 'gpt_oss',
      hidden_size: 2880,
      intermediate_size: 2880,
      num_local_experts: 128,
      num_experts_per_tok: 4,
      experts_per_token: 4,
      num_hidden_layers: 36,
      num_attention_heads: 64,
      num_key_value_heads: 8,
      head_dim: 64,
      sliding_window: 128,
      layer_types: Array.from({ length: 36 }, (_, i) =>
        i % 2 === 0 ? 'sliding_attention' : 'full_attention',
      ),
      quantization_config: { quant_method: 'mxfp4' },
      vocab_size: 201088,
    });
    expect(shape).toMatchObject({
      experts: 128,
      expertHiddenSize: 2880,
      moeLayers: 36,
      denseLayers: 0,
      weightDtype: 'mxfp4',
      attention: { kind: 'gqa', heads: 64, kvHeads: 8, headSize: 64, window: 128, windowEvery: 2 },
    });
  });

  it('counts dense layers of Qwen configs', () => {
    const qwen = {
      hidden_size: 2048,
      intermediate_size: 6144,
      moe_intermediate_size: 768,
      num_experts: 128,
      num_experts_per_tok: 8,
      num_hidden_layers: 48,
      decoder_sparse_step: 2,
      mlp_only_layers: [1],
    };
    // Layers 2, 4, … of 48 (counted from 1) have experts, of which layer 1 (counted from 0) is taken out.
    expect(shapeFromConfig(qwen)).toMatchObject({ moeLayers: 23, denseLayers: 25, denseHiddenSize: 6144 });
  });

  it('names every field that is missing', () => {
    expect(() =>
      shapeFromConfig({ hidden_size: 4096, num_hidden_layers: 32, intermediate_size: 11008 }),
    ).toThrow(
      'found no n_routed_experts or num_experts or num_local_experts, no num_experts_per_tok or experts_per_token',
    );
    expect(() => shapeFromConfig(null)).toThrow('found no hidden_size');
  });

  it('names a field of the wrong type, and what it holds', () => {
    const config = { hidden_size: '4096', moe_intermediate_size: 64, num_experts: 8, num_experts_per_tok: 2 };
    expect(() => shapeFromConfig({ ...config, num_hidden_layers: 2 })).toThrow(
      'hidden_size: found "4096", allowed: a whole number ≥ 1',
    );
  });
});

describe('completeShape', () => {
  const shape = { hiddenSize: 64, expertHiddenSize: 64, experts: 8, topK: 2 };
  it.each([
    [{ topK: 9 }, 'topK: found 9, allowed: at most experts = 8'],
    [{ routerGroups: 3 }, 'routerGroups: found 3, allowed: a divisor of experts = 8'],
    [{ routerGroups: 4, topGroups: 5 }, 'topGroups: found 5, allowed: at most routerGroups = 4'],
    [{ routerGroups: 4, topGroups: 1, topK: 3 }, 'topK: found 3'],
  ])('refuses %o', (change, message) => {
    expect(() => completeShape(shapeSchema.parse({ ...shape, ...change }))).toThrow(message);
  });
});
