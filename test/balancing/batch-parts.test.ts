import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import {
  BatchParts,
  contiguous,
  LayerLoads,
  LayerWork,
  policyOf,
  type PlannedBatch,
  type PolicyOptions,
} from '../../src/balancing/index.js';
import { openScenario } from '../../src/run.js';
import type { ScenarioInput } from '../../src/scenario/index.js';
import { simulate } from '../../src/simulation/index.js';
import { scenarioArbitrary } from '../simulation/random-scenario.js';

const sum = (values: ArrayLike<number>) => Array.from(values).reduce((total, value) => total + value, 0);
const added = (arrays: ArrayLike<number>[]) =>
  Array.from(arrays[0], (_, i) => arrays.reduce((total, array) => total + array[i], 0));

/** Every planned batch of a scenario, cut into parts. */
async function cutAll(
  scenario: ScenarioInput,
  count: number,
  check: (whole: PlannedBatch, parts: readonly PlannedBatch[], policy: PolicyOptions) => void,
): Promise<void> {
  const { resolved } = await openScenario({ ...scenario, runtime: 'ideal' });
  const { source, machine, runtime, policies, seed } = resolved;
  const { gpus } = machine.cluster;
  const stream = source.start();
  let step = stream.next()!;
  let at = 0;
  const home = contiguous(gpus, source.experts, 16).home;
  const cutter = new BatchParts(gpus, source.experts, home);
  simulate({
    machine,
    runtime,
    source,
    policies,
    warmup: 0,
    seed,
    resamples: 0,
    onLayer: ({ plan, options }, base) => {
      const batch = step.layers[Math.floor(at / policies.length) % step.layers.length];
      const whole = {
        plan: plan!,
        base: new LayerLoads(gpus, source.experts, home).count(Int32Array.from(base.counts)),
        tokens: batch.tokens,
        tokensBySource: Int32Array.from(step.tokensBySource),
      };
      check(whole, cutter.cut(whole, count, 'seed'), options);
      at++;
      if (at % (policies.length * step.layers.length) === 0) step = stream.next() ?? step;
    },
  });
}

describe('parts of a batch', () => {
  test.prop([scenarioArbitrary, fc.integer({ min: 2, max: 5 })], { numRuns: 150 })(
    'conserve tokens, copies, slots, slices and what is kept; weights travel once',
    async (scenario, count) => {
      await cutAll(scenario, count, (whole, parts, options) => {
        const { gpus, experts } = whole.base;
        expect(added(parts.map(({ tokensBySource }) => tokensBySource))).toEqual([
          ...Array.from(whole.tokensBySource),
        ]);
        expect(added(parts.map(({ base }) => base.counts))).toEqual([...whole.base.counts]);
        const { slotCopies, drop, transfers } = whole.plan;
        if (slotCopies) {
          expect(added(parts.map(({ plan }) => plan.slotCopies!.copies))).toEqual([...slotCopies.copies]);
        }
        if (drop) expect(added(parts.map(({ plan }) => plan.drop!.kept))).toEqual([...drop.kept]);
        if (drop?.sent) expect(added(parts.map(({ plan }) => plan.drop!.sent!))).toEqual([...drop.sent]);
        if (drop?.rows) expect(added(parts.map(({ plan }) => plan.drop!.rows!))).toEqual([...drop.rows]);
        expect(parts.map(({ plan }) => plan.transfers)).toEqual([
          transfers,
          ...Array.from({ length: count - 1 }, () => null),
        ]);
        if (policyOf(options).anchor) return;
        // Every GPU computes in all parts together what it computes in the whole.
        const workOf = ({ plan, base }: PlannedBatch) =>
          new LayerWork(gpus, experts, 1, 16).expand(plan, base);
        const computed = added(parts.map((part) => workOf(part).copies));
        expect(computed).toEqual([...workOf(whole).copies]);
        expect(added(parts.map((part) => workOf(part).send))).toEqual([...workOf(whole).send]);
        for (const part of parts) {
          expect(Math.min(...workOf(part).send)).toBeGreaterThanOrEqual(0);
          if (part.tokens) expect(part.tokens.count).toBe(sum(part.tokensBySource));
        }
      });
    },
  );

  it('have loads of their own: halves of a small batch are more skewed than the whole', async () => {
    const ratios: number[] = [];
    const scenario: ScenarioInput = {
      model: 'qwen3-30b-a3b',
      cluster: '8xh100',
      workload: { phase: 'decode', tokensPerGpu: 16, steps: 20, routing: { kind: 'zipf', exponent: 0 } },
      policies: ['ep'],
    };
    const gamma = (loads: ArrayLike<number>) => (Math.max(...Array.from(loads)) * loads.length) / sum(loads);
    await cutAll(scenario, 2, (whole, parts, { kind }) => {
      if (kind !== 'ep') return;
      ratios.push(...parts.map(({ base }) => gamma(base.homeLoads) / gamma(whole.base.homeLoads)));
    });
    // Scatter grows with the root of the number of parts: about 0.13 of the mean becomes 0.18.
    expect(sum(ratios) / ratios.length).toBeGreaterThan(1.02);
    expect(sum(ratios) / ratios.length).toBeLessThan(1.15);
  });
});
