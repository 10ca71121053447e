import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { solveSlo } from '../../src/solve-slo.js';
import { largestFeasible, parseLimits } from '../../src/sweep/index.js';

describe('the largest batch', () => {
  test.prop([fc.nat(5000), fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 1, max: 5000 })])(
    'is within 2 % or 1 of the border, wherever the search starts, after few trials',
    async (border, from, most) => {
      let trials = 0;
      const found = await largestFeasible(
        (value) => {
          trials++;
          expect(value).toBeGreaterThanOrEqual(1);
          expect(value).toBeLessThanOrEqual(most);
          return Promise.resolve(value <= border);
        },
        from,
        most,
      );
      const largest = Math.min(border, most);
      expect(found).toBeLessThanOrEqual(largest);
      expect(largest - found).toBeLessThanOrEqual(Math.max(0, 0.02 * found));
      expect(trials).toBeLessThanOrEqual(26);
    },
  );
});

describe('limits', () => {
  it.each([
    ['tpot=30ms', { tpot: 0.03, ttft: null }],
    ['ttft=0.5s', { tpot: null, ttft: 0.5 }],
    ['tpot=900us, ttft=500ms', { tpot: 0.0009, ttft: 0.5 }],
  ])('%s', (text, limits) => {
    const parsed = parseLimits(text);
    expect(parsed.tpot ?? 0).toBeCloseTo(limits.tpot ?? 0, 12);
    expect(parsed.ttft ?? 0).toBeCloseTo(limits.ttft ?? 0, 12);
  });

  it.each(['tpot', 'tpot=30', 'tpot=0ms', 'itl=3ms', '', 'tpot=-3ms'])('refuses %j', (text) => {
    expect(() => parseLimits(text)).toThrow(`found '${text}', allowed: limits such as`);
  });
});

describe('solveSlo', () => {
  const scenario = {
    model: { preset: 'qwen3-30b-a3b' },
    cluster: { gpu: 'h100', gpus: 8, pricePerGpuHour: 2 },
    workload: {
      phase: 'decode',
      tokensPerGpu: 64,
      kvTokens: 64 * 2000,
      steps: 1,
      routing: { kind: 'balanced' },
    },
    policies: ['ep'],
    scope: 'model',
  };
  const solve = (limits: { tpot: number | null; ttft: number | null }, changes: object = {}) =>
    solveSlo({ ...scenario, ...changes }, 'file', { limits, policy: null });

  it('stops at the latency, or at the memory: sequences keep their length', async () => {
    const [fast, slow] = [await solve({ tpot: 0.012, ttft: null }), await solve({ tpot: 10, ttft: null })];
    const [quick, large] = [fast, slow].map(({ choices }) => choices.find(({ policy }) => policy === 'ep')!);
    expect([quick.bound, large.bound]).toEqual(['latency', 'memory']);
    expect(quick.best!.stepP95).toBeLessThanOrEqual(0.012);
    expect(quick.best!.tokensPerGpu).toBeLessThan(large.best!.tokensPerGpu);
    // Whatever is left holds less than 2 % and one more of sequences of 2,000 tokens.
    const { tokensPerGpu, spareKvTokens } = large.best!;
    expect(spareKvTokens).toBeGreaterThanOrEqual(0);
    expect(spareKvTokens).toBeLessThan(2000 * (0.03 * tokensPerGpu + 2));
    expect(large.best!.costPerMillionTokens).toBeCloseTo(
      (2 / 3600 / large.best!.tokensPerSecondPerGpu.mean) * 1e6,
      9,
    );
  });

  it('says so where no batch is small enough', async () => {
    const { choices } = await solve({ tpot: 1e-6, ttft: null });
    for (const { best, bound, because } of choices) {
      expect([best, bound]).toEqual([null, 'latency']);
      expect(because).toContain('1 tokens per GPU: p95 of');
    }
  });

  it.each([
    [{ scope: 'layer' }, { tpot: 1, ttft: null }, 'scope: found \'layer\', allowed: "model" under --slo'],
    [{}, { tpot: null, ttft: 1 }, "workload.phase: found 'decode' without a limit, allowed: --slo tpot=…"],
    [
      { workload: { ...scenario.workload, tokensPerGpu: undefined } },
      { tpot: 1, ttft: null },
      'workload.tokensPerGpu: found no batch',
    ],
  ])('refuses %j', async (changes, limits, message) => {
    await expect(solve(limits, changes)).rejects.toThrow(message);
  });
});
