/** Keys of scope model: what is missing, and what would change nothing. */
import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { openScenario } from '../../src/run.js';
import { perGpu } from '../../src/scenario/per-gpu.js';

const decode = {
  model: 'gpt-oss-20b',
  cluster: { gpu: 'h200', gpus: 4 },
  workload: {
    phase: 'decode',
    tokensPerGpu: 8,
    kvTokens: 8000,
    steps: 2,
    routing: { kind: 'balanced' },
  },
  policies: ['ep'],
  scope: 'model',
};
const open = (changes: object, workload: object = {}) =>
  openScenario({ ...decode, ...changes, workload: { ...decode.workload, ...workload } });

describe('scope model', () => {
  it.each<[string, object, object, string]>([
    [
      'decode without a cache',
      {},
      { kvTokens: undefined },
      'workload.kvTokens: found nothing, allowed: tokens in the KV',
    ],
    [
      'prefill without prompts',
      {},
      { phase: 'prefill', kvTokens: undefined },
      'workload.promptTokens: found nothing, allowed: the length of prompts',
    ],
    [
      'prompts in decode',
      {},
      { promptTokens: 8 },
      'workload.promptTokens: found a value, allowed: nothing in decode',
    ],
    [
      'a cache in scope layer',
      { scope: 'layer' },
      {},
      'workload.kvTokens: found a value, allowed: nothing in scope layer',
    ],
    [
      'a list of another length',
      {},
      { kvTokens: [1, 2] },
      'workload.kvTokens: found a list of 2, allowed: one number for',
    ],
    ['a single layer', {}, { layer: 3 }, 'workload.layer: found 3, allowed: nothing, since scope model'],
    [
      'speeds of too few GPUs',
      { cluster: { gpu: 'h200', gpus: 4, speed: [1, 0.9] } },
      {},
      'cluster.speed: found a list of 2, allowed: one number for each of 4 GPUs',
    ],
    [
      'a shape without attention',
      { model: { hiddenSize: 64, expertHiddenSize: 64, experts: 8, topK: 2 } },
      {},
      'model: found no attention, no vocabulary, allowed: a shape that says them',
    ],
    [
      'tokens of another mean',
      {},
      { tokens: [8, 8, 8, 12] },
      'workload.tokens: found a list of mean 9, allowed: that of tokensPerGpu (8), or no tokensPerGpu',
    ],
    [
      'tokens of a workload with its own',
      {},
      { tokens: { cv: 0.1 }, routing: { kind: 'workload', name: 'W4' } },
      'workload.routing.name: found a workload with tokens of its own, allowed: no workload.tokens beside it',
    ],
  ])('refuses %s', async (_, changes, workload, message) => {
    await expect(open(changes, workload)).rejects.toThrow(message);
  });

  it('gives each GPU its tokens', async () => {
    const { resolved } = await open({}, { tokensPerGpu: undefined, tokens: [2, 4, 8, 18] });
    expect(resolved.source.tokensPerGpu).toBe(8);
    expect([...resolved.source.start().next()!.tokensBySource]).toEqual([2, 4, 8, 18]);
    expect([...resolved.contexts!.kvTokens]).toEqual([8000, 8000, 8000, 8000]);
  });

  test.prop([fc.integer({ min: 1, max: 64 }), fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(1000)])(
    'drawn figures keep their mean, and come from the seed',
    (gpus, cv, seed) => {
      const drawn = perGpu({ mean: 10_000, cv }, gpus, seed, 'name');
      const sum = drawn.reduce((total, value) => total + value, 0);
      expect(Math.abs(sum / gpus - 10_000)).toBeLessThanOrEqual(0.5);
      expect(drawn).toEqual(perGpu({ mean: 10_000, cv }, gpus, seed, 'name'));
    },
  );

  it('drawn figures have the coefficient of variation asked for', () => {
    const drawn = perGpu({ mean: 10_000, cv: 0.3 }, 4000, 1, 'name');
    const variance = drawn.reduce((sum, value) => sum + (value - 10_000) ** 2, 0) / drawn.length;
    expect(Math.sqrt(variance) / 10_000).toBeCloseTo(0.3, 1);
  });
});
