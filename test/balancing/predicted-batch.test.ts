/** FEPLB, MoonEP and PROBE, worked out by hand; what every policy must keep is in conformance.test.ts. */
import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { planLayer } from '../../src/balancing/index.js';
import { predicted } from '../../src/balancing/history/predicted.js';
import { placementOf, slotsByGpu } from '../../src/balancing/placement.js';
import { spareReplicas } from '../../src/balancing/placements/spare-replicas.js';
import { simulateScenario } from '../simulation/random-scenario.js';
import { policySetting } from './policy-setting.js';

const sum = (values: ArrayLike<number>) => Array.from(values).reduce((total, value) => total + value, 0);

describe('FEPLB', () => {
  it('moves whole experts inside a node, from the hottest GPU to the coldest', () => {
    // Node 0: GPU 0 has 50 + 40, GPU 1 has 10 + 0; node 1 is idle. With one dynamic expert each, 50 and 10 may move:
    // 50 to GPU 1, which makes 40 and 60, then 10 to GPU 0.
    const plan = planLayer(
      { kind: 'feplb', dynamicExperts: 1 },
      { gpus: 4, gpusPerNode: 2, experts: 8, loads: [50, 40, 10, 0, 0, 0, 0, 0] },
    );
    expect(plan.gpuLoads).toEqual([50, 50, 0, 0]);
    expect(plan.transfers.map(({ expert, src, dst }) => [expert, src, dst])).toEqual([
      [0, 0, 1],
      [2, 1, 0],
    ]);
  });

  it('leaves a node that is balanced', () => {
    const plan = planLayer('feplb', { gpus: 2, experts: 4, loads: [10, 10, 10, 10] });
    expect([plan.gated, plan.transfers]).toEqual([true, []]);
  });
});

describe('MoonEP', () => {
  it('every GPU computes equally many copies', () => {
    // 80 too many on GPU 0 beside a mean of 40; each of the others lacks some: 40, 30 and 10.
    const plan = planLayer('moonep', { gpus: 4, experts: 8, loads: [100, 20, 0, 0, 5, 5, 10, 20] });
    expect(plan.gpuLoads).toEqual([40, 40, 40, 40]);
    expect(plan.transfers.map(({ expert, dst }) => [expert, dst])).toEqual([
      [0, 1],
      [0, 2],
      [0, 3],
    ]);
  });

  it('what does not divide goes to the first GPUs', () => {
    expect(planLayer('moonep', { gpus: 4, experts: 4, loads: [0, 0, 0, 10] }).gpuLoads).toEqual([3, 3, 2, 2]);
  });

  it('with its last spare slot a GPU takes an expert that fills it up, whoever lends it', () => {
    // Mean 12. GPU 3 lacks 12; GPUs 0, 1 and 2 have 4 too many each. With one slot it takes 12 of one expert of GPU 0,
    // which lacks 8 then and fills up from one of 8 or more, and so on.
    const loads = [16, 0, 16, 0, 16, 0, 0, 0];
    const plan = planLayer({ kind: 'moonep', spareSlots: 1 }, { gpus: 4, experts: 8, loads });
    expect(plan.gpuLoads).toEqual([12, 12, 12, 12]);
    expect(new Set(plan.transfers.map(({ dst }) => dst)).size).toBe(plan.transfers.length);
  });

  test.prop([fc.array(fc.nat(200), { minLength: 16, maxLength: 16 }), fc.constantFrom(1, 2, 4, null)])(
    'no GPU computes more foreign experts than it has spare slots, and none ends up above the largest load',
    (loads, spareSlots) => {
      const plan = planLayer({ kind: 'moonep', spareSlots }, { gpus: 4, experts: 16, loads });
      const foreign = [0, 1, 2, 3].map((gpu) => plan.transfers.filter(({ dst }) => dst === gpu).length);
      expect(Math.max(...foreign)).toBeLessThanOrEqual(spareSlots ?? 4);
      expect(sum(plan.gpuLoads)).toBe(sum(loads));
      const before = [0, 1, 2, 3].map((gpu) => sum(loads.slice(4 * gpu, 4 * gpu + 4)));
      expect(Math.max(...plan.gpuLoads)).toBeLessThanOrEqual(Math.max(...before));
      // Four spare slots suffice for four experts each, as the contract says.
      if (spareSlots === null) expect(Math.max(...plan.gpuLoads)).toBe(Math.ceil(sum(loads) / 4));
    },
  );
});

describe('placement spare-replicas', () => {
  const site = policySetting(2, 4);
  const place = (
    options: object,
    loads: number[],
    current = spareReplicas.initial!(parsed(options), site),
  ) => {
    const history = { sum: Float64Array.from(loads), rows: [loads] };
    return spareReplicas.start(parsed(options), site).place([history], [current])[0];
  };
  const parsed = (options: object) => spareReplicas.options.parse({ kind: 'spare-replicas', ...options });

  it('begins with experts of the next GPU in spare slots', () => {
    expect(slotsByGpu(spareReplicas.initial!(parsed({ spareSlots: 1 }), site))).toEqual([
      [0, 1, 2],
      [2, 3, 0],
    ]);
  });

  it('puts a replica of the largest expert of the hottest GPU where the least load is', () => {
    expect(slotsByGpu(place({ spareSlots: 1 }, [10, 50, 10, 10])!)).toEqual([
      [0, 1, 2],
      [2, 3, 1],
    ]);
  });

  it('moves nothing where the replicas that help are there', () => {
    expect(place({ spareSlots: 1 }, [50, 10, 10, 10])).toBeNull();
    expect(place({ spareSlots: 1 }, [10, 10, 10, 10])).toBeNull();
  });

  it('receives no more at once than arrivals says', () => {
    const hotter = [30, 25, 25, 0, 0, 0, 0, 0];
    const three = policySetting(2, 8);
    const before = placementOf(
      [
        [0, 1, 2, 3, 4, 5],
        [4, 5, 6, 7, 6, 7],
      ],
      8,
      16,
      three.placement.home,
    );
    const arriving = (arrivals: number | null) => {
      const chosen = parsed({ spareSlots: 2, arrivals });
      const history = { sum: Float64Array.from(hotter), rows: [hotter] };
      const [placed] = spareReplicas.start(chosen, three).place([history], [before]);
      return slotsByGpu(placed!)[1].slice(4);
    };
    // 40 too many: 30 of expert 0, then 10 of expert 1.
    expect(arriving(null)).toEqual([0, 1]);
    expect(arriving(1)).toEqual([0, 7]);
  });
});

describe('history predicted', () => {
  const estimate = (error: number, loads: number[]) => {
    const options = predicted.options.parse({ kind: 'predicted', error });
    const [estimator] = predicted.start(options, policySetting(2, loads.length));
    estimator.add(Float64Array.from(loads));
    return [...estimator.known().sum];
  };

  it('without error it is the load itself, and then no policy to run', () => {
    expect(estimate(0, [7, 0, 3, 5])).toEqual([7, 0, 3, 5]);
    expect(predicted.hypothetical({ kind: 'predicted', error: 0, interval: 1 })).toBe(true);
    expect(predicted.hypothetical({ kind: 'predicted', error: 0.01, interval: 1 })).toBe(false);
  });

  test.prop([
    fc.double({ min: 0.01, max: 1, noNaN: true }),
    fc.array(fc.nat(100), { minLength: 2, maxLength: 9 }),
  ])('an error takes its share of every expert and gives it to others', (error, loads) => {
    const seen = estimate(error, loads);
    expect(sum(seen)).toBeCloseTo(sum(loads), 9);
    const wrong = sum(seen.map((load, e) => Math.max(0, (1 - error) * loads[e] - load)));
    expect(wrong).toBeCloseTo(0, 9);
    if (loads.length === 2) expect(seen[0]).toBeCloseTo((1 - error) * loads[0] + error * loads[1], 9);
  });
});

describe('PROBE', () => {
  const scenario = (error: number, movement: 'prefetch' | 'blocking' = 'prefetch') =>
    simulateScenario({
      model: { hiddenSize: 2048, expertHiddenSize: 1024, experts: 32, topK: 2 },
      cluster: { gpu: 'h100', gpus: 8, gpusPerNode: 8 },
      runtime: 'ideal',
      workload: {
        phase: 'prefill',
        tokensPerGpu: 8192,
        steps: 20,
        warmupSteps: 0,
        routing: { kind: 'zipf', exponent: 1 },
      },
      policies: ['ep', { kind: 'probe', history: { kind: 'predicted', error }, movement }],
    });

  it('balances less the more its predictor errs', async () => {
    const gammas: number[] = [];
    for (const error of [0, 0.3, 0.9]) {
      const { policies } = await scenario(error);
      gammas.push(policies[1].imbalance.gpu.after.maxOverMean);
      expect(policies[1].bytes.weights).toBeGreaterThan(0);
    }
    expect(gammas[0]).toBeLessThan(1.1);
    expect(gammas[1]).toBeGreaterThan(gammas[0]);
    expect(gammas[2]).toBeGreaterThan(1.2 * gammas[1]);
  });

  it('prefetches beside the layer, into staging; blocking the same weights costs more', async () => {
    const [, ahead] = (await scenario(0)).policies;
    const [, waiting] = (await scenario(0, 'blocking')).policies;
    expect(ahead.bytes.weights).toBe(waiting.bytes.weights);
    expect(ahead.stepLatency.mean).toBeLessThan(waiting.stepLatency.mean);
    expect(ahead.peakMemory.byCategory.staging).toBeGreaterThan(0);
  });
});
