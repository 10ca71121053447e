import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { contiguous } from '../../src/balancing/index.js';
import { slotsByGpu } from '../../src/balancing/placement.js';
import { simulateScenario } from '../simulation/random-scenario.js';

describe('contiguous placement', () => {
  it('GPUs that do not divide the experts differ by one slot', () => {
    expect(slotsByGpu(contiguous(3, 8, 16))).toEqual([
      [0, 1, 2],
      [3, 4, 5],
      [6, 7],
    ]);
  });

  it('more GPUs than experts: some hold none', () => {
    expect(slotsByGpu(contiguous(4, 2, 16))).toEqual([[0], [], [1], []]);
    const { home } = contiguous(1024, 512, 16);
    expect([home[0], home[1], home[511]]).toEqual([0, 2, 1022]);
  });

  test.prop([fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 })])(
    'expert e is on GPU ⌊e · GPUs / experts⌋, and nowhere else',
    (gpus, experts) => {
      const placement = contiguous(gpus, experts, 16);
      expect(placement.slotExpert.length).toBe(experts);
      expect([...placement.home]).toEqual(
        Array.from({ length: experts }, (_, e) => Math.floor((e * gpus) / experts)),
      );
    },
  );

  it('standard EP on twice as many GPUs as experts: half of them compute nothing and hold no weights', async () => {
    const { policies } = await simulateScenario(
      {
        model: { hiddenSize: 256, expertHiddenSize: 128, experts: 32, topK: 2 },
        cluster: { gpu: 'h100', gpus: 64, gpusPerNode: 8 },
        runtime: 'ideal',
        workload: { phase: 'prefill', tokensPerGpu: 32, steps: 1, routing: { kind: 'balanced' } },
        policies: ['ep'],
      },
      ({ work, policy, residency }) => {
        if (policy.kind !== 'ep') return;
        // 64 · 32 tokens with two copies each over 32 experts: 128 a piece.
        expect([...work.copies]).toEqual(Array.from({ length: 64 }, (_, gpu) => (gpu % 2 === 0 ? 128 : 0)));
        expect(residency.bytesOn(0)).toBe(3 * 256 * 128 * 2);
        expect(residency.bytesOn(1)).toBe(0);
      },
    );
    expect(policies[0].imbalance.gpu.after.maxOverMean).toBeCloseTo(2, 9);
  });
});
