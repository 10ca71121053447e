import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { capacityDrop } from '../../src/balancing/dispatch/capacity-drop.js';
import { contiguous } from '../../src/balancing/index.js';
import { run, type ScenarioInput } from '../../src/index.js';
import { scenarioArbitrary, simulateScenario } from './random-scenario.js';

/** Paths of numbers that JSON can't hold. */
function notFinite(value: unknown, path = ''): string[] {
  if (typeof value === 'number') return Number.isFinite(value) ? [] : [`${path}: ${value}`];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => notFinite(inner, `${path}.${key}`));
}

describe('results', () => {
  test.prop([scenarioArbitrary, fc.constantFrom(1e-9, 0.05, 0.4)], { numRuns: 60 })(
    'hold no NaN and no Infinity, however little a policy keeps',
    async (scenario, factor) => {
      const policies: ScenarioInput['policies'] = [
        ...scenario.policies,
        { kind: 'capacity', factor, budget: 'expert' },
        { kind: 'capacity', factor, order: 'random' },
      ];
      expect(notFinite(await simulateScenario({ ...scenario, policies }))).toEqual([]);
    },
  );

  it('refuse a capacity per GPU of no copy, and take the smallest that holds one', async () => {
    const scenario = (factor: number): ScenarioInput => ({
      model: { hiddenSize: 64, expertHiddenSize: 64, experts: 8, topK: 2 },
      cluster: { gpu: 'h100', gpus: 4 },
      workload: { phase: 'decode', tokensPerGpu: 8, steps: 3, routing: { kind: 'zipf', exponent: 1 } },
      policies: [{ kind: 'capacity', factor, budget: 'gpu' }],
    });
    await expect(run(scenario(0.06))).rejects.toThrow(
      'scenario: policies[0].factor: found 0.06, of 16 copies per GPU not a single one, allowed: at least 0.0625',
    );
    const { policies } = await run(scenario(0.0625));
    expect(policies[0].copies.routed - policies[0].copies.dropped).toBeGreaterThan(0);
    expect(notFinite(policies)).toEqual([]);
  });

  it('know no kept gate mass where there is none', () => {
    const rule = { factor: 1, budget: 'expert', order: 'position', pad: false, roundUpTo: 1 } as const;
    const drop = capacityDrop(rule, {
      placement: contiguous(2, 2, 16),
      counts: Int32Array.of(1, 0, 0, 0),
      tokensBySource: null,
      tokens: {
        count: 1,
        topK: 1,
        experts: Uint16Array.of(0),
        source: Uint16Array.of(0),
        weights: Float32Array.of(0),
      },
      seed: '1',
    });
    expect(drop.keptGateMass).toBeNull();
  });
});
