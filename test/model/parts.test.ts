import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { expertWeights } from '../../src/hardware/index.js';
import {
  attentionProducts,
  completeShape,
  flopPerPair,
  kvBytes,
  layersOf,
  modelPresets,
  pairsOf,
  shapeSchema,
  weightBytes,
  wholeModel,
} from '../../src/model/index.js';

const whole = (name: string, changes: object = {}) =>
  wholeModel(completeShape(shapeSchema.parse({ ...modelPresets[name], ...changes })));

describe('parts of a model', () => {
  it.each([
    // Parameters in billions, from the models' cards.
    ['deepseek-v3', 671],
    ['deepseek-v2-lite', 15.7],
    ['kimi-k2', 1026],
    ['qwen3-30b-a3b', 30.5],
    ['qwen3-235b-a22b', 235.1],
    ['gpt-oss-20b', 20.9],
    ['gpt-oss-120b', 116.8],
    ['mixtral-8x7b', 46.7],
    ['olmoe-1b-7b', 6.9],
  ])('%s has %d billion parameters in all', (name, billions) => {
    const model = whole(name, { denseDtype: 'bf16' });
    const experts = model.moeLayers * model.experts * expertWeights(model);
    const parameters = (experts + weightBytes(model) / 2) / 1e9;
    expect(Math.abs(parameters / billions - 1)).toBeLessThan(0.005);
  });

  it.each([
    // DeepSeek, arXiv 2505.09343, table 1: 70.272 KB per token. GQA: 2 · 8 heads · 64 · 2 bytes in 36 layers.
    ['deepseek-v3', 70_272],
    ['gpt-oss-120b', 73_728],
    ['qwen3-235b-a22b', 192_512],
  ])('%s caches %d bytes per token over all layers', (name, bytes) => {
    const model = whole(name);
    expect(layersOf(model).length * kvBytes(model)).toBe(bytes);
  });

  it('MLA: absorbed attention costs more FLOP per position, on fewer bytes', () => {
    const model = whole('deepseek-v3');
    expect(flopPerPair(model, 'prefill')).toBe(2 * 128 * (128 + 64 + 128));
    expect(flopPerPair(model, 'decode')).toBe(2 * 128 * (512 + 64 + 512));
    // Absorbing uses the same weights: what is up-projected in prefill is split in two.
    const weights = (phase: 'prefill' | 'decode') =>
      attentionProducts(model, phase).perToken.reduce(
        (sum, { k, n, matrices = 1 }) => sum + matrices * k * n,
        0,
      );
    expect(weights('decode')).toBe(weights('prefill'));
  });

  it('gpt-oss: every second layer has the window', () => {
    const windowed = layersOf(whole('gpt-oss-20b')).map((layer) => layer.windowed);
    expect(windowed.slice(0, 4)).toEqual([true, false, true, false]);
  });

  it('names what a shape lacks', () => {
    const shape = { hiddenSize: 64, expertHiddenSize: 64, experts: 8, topK: 2, denseLayers: 1 };
    expect(() => wholeModel(completeShape(shapeSchema.parse(shape)))).toThrow(
      'found no attention, no vocabulary, no denseHiddenSize',
    );
  });

  const counts = fc.tuple(
    fc.nat(40),
    fc.nat(40),
    fc.option(fc.integer({ min: 1, max: 50 }), { nil: undefined }),
  );
  test.prop([counts])('pairs of a causal sequence are counted one by one', ([tokens, before, window]) => {
    let pairs = 0;
    for (let i = 0; i < tokens; i++) pairs += Math.min(before + i + 1, window ?? Infinity);
    expect(pairsOf(tokens, before, window)).toBe(pairs);
  });
});
