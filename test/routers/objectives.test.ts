import { describe, expect, it } from 'vitest';
import { routerLoads, type RouterLoads } from '../../src/inspection/index.js';
import { labSchema, objectiveSchema, RouterLab, type RecordedRouter } from '../../src/routers/index.js';
import { softmaxRows } from '../../src/routers/dense.js';
import { choose } from '../../src/routers/mixture.js';
import { dualValue, movePrices } from '../../src/routers/objectives/alf-lb.js';
import { encodeTokenTrace, randomStream, tokenTraceSource } from '../../src/routing/index.js';

const setting = { experts: 16, topK: 2, gpus: 4, gpusPerNode: 1, tokensPerGpu: 1024, steps: 3 };
const options = labSchema.parse({ steps: 200, dimension: 16, clusters: 512, batchSequences: 6 });

interface Trained extends RouterLoads {
  trained: RecordedRouter['trained'];
}

const known = new Map<string, Trained>();
/** Trained once for all tests that ask for it. */
function trained(objective: object): Trained {
  const key = JSON.stringify(objective);
  let found = known.get(key);
  if (!found) {
    const lab = new RouterLab(options, setting, 1);
    const recorded = lab.train(objectiveSchema.parse(objective));
    known.set(key, (found = { ...routerLoads(recorded.trace, 1), trained: recorded.trained }));
  }
  return found;
}

// Orders of the papers, as a small world shows them (their digits are not claimed).
describe('what objectives do to the load', () => {
  it('none collapses: experts die', () => {
    const { dead, gini, minOverMax } = trained({ kind: 'none' });
    expect(dead).toBeGreaterThan(0);
    expect(minOverMax).toBe(0);
    expect(gini).toBeGreaterThan(0.4);
  });

  it('none ≫ a weak load-balancing loss > loss-free balancing; a strong loss balances too', () => {
    const [none, weak, strong, free] = [
      { kind: 'none' },
      { kind: 'switch', alpha: 0.01 },
      { kind: 'switch', alpha: 1 },
      { kind: 'loss-free' },
    ].map(trained);
    expect(none.maxVioGlobal).toBeGreaterThan(1.1 * weak.maxVioGlobal);
    expect(weak.maxVioGlobal).toBeGreaterThan(2 * free.maxVioGlobal);
    expect(weak.gini).toBeGreaterThan(2 * strong.gini);
    expect(free.gini).toBeLessThan(0.1);
    expect(free.dead).toBe(0);
    // Every sequence then uses nearly all experts.
    expect(free.expertsPerSequence).toBeGreaterThan(none.expertsPerSequence + 0.1);
  });

  it('MaxVio of single batches is at least that of all of them', () => {
    for (const { maxVioBatch, maxVioGlobal } of known.values())
      expect(maxVioBatch).toBeGreaterThanOrEqual(maxVioGlobal - 1e-12);
  });

  it('simbal: orthonormal directions, which others do not have, and loads less even than a strong loss', () => {
    const simbal = trained({ kind: 'simbal' });
    const strong = trained({ kind: 'switch', alpha: 1 });
    expect(simbal.trained.similarity).toBeLessThan(1e-6);
    expect(strong.trained.similarity).toBeGreaterThan(1e-2);
    expect(trained({ kind: 'none' }).trained.similarity).toBeGreaterThan(1e-2);
    expect(simbal.gini).toBeGreaterThan(strong.gini);
  });

  it('simbal without a common mean leaves no expert unused by sequences of 128 tokens', () => {
    const lab = new RouterLab(
      { ...options, commonMean: 0.3, sequenceTokens: 128, batchSequences: 3, steps: 100 },
      setting,
      1,
    );
    const { dead, expertsPerSequence } = routerLoads(
      lab.train(objectiveSchema.parse({ kind: 'simbal' })).trace,
      1,
    );
    expect(dead).toBe(0);
    expect(expertsPerSequence).toBeGreaterThan(0.99);
  });

  it('lpr: no dead expert and far more even than none', () => {
    const lpr = trained({ kind: 'lpr' });
    expect(lpr.dead).toBe(0);
    expect(lpr.gini).toBeLessThan(0.7 * trained({ kind: 'none' }).gini);
  });

  it('locmoe: more copies stay on the own node than with Switch, at no larger MaxVio', () => {
    const [locmoe, weak] = [{ kind: 'locmoe' }, { kind: 'switch', alpha: 0.01 }].map(trained);
    expect(locmoe.localShare).toBeGreaterThan(weak.localShare + 0.02);
    expect(locmoe.maxVioGlobal).toBeLessThan(weak.maxVioGlobal);
  });

  it('refuses more orthonormal experts than dimensions', () => {
    const lab = new RouterLab({ ...options, dimension: 8 }, setting, 1);
    expect(() => lab.train(objectiveSchema.parse({ kind: 'simbal' }))).toThrow(
      'simbal: found 16 experts in 8 dimensions, allowed: at most as many experts as dimensions',
    );
  });
});

describe('the trace of a lab', () => {
  const short = { ...options, steps: 10 };
  const train = (seed: number) =>
    new RouterLab(short, setting, seed).train(objectiveSchema.parse({ kind: 'alf-lb' })).trace;

  it('is the same for the same seed, and another for another', () => {
    const first = encodeTokenTrace(train(1));
    expect(encodeTokenTrace(train(1))).toEqual(first);
    expect(encodeTokenTrace(train(2))).not.toEqual(first);
  });

  it('replays as recorded, with gate weights and its calibration part', () => {
    const source = tokenTraceSource(train(1), {
      gpus: 4,
      tokensPerGpu: null,
      steps: null,
      layers: [0],
      batching: 'recorded',
      resample: false,
      padding: false,
      phase: null,
      calibrationShare: 0.1,
      seed: 1,
    });
    expect([source.steps, source.tokensPerGpu, source.hasGateWeights]).toEqual([3, 1024, true]);
    expect(source.calibration(0.1).tokens).toBe(4096);
  });
});

describe('prices of the balanced assignment (ALF-LB)', () => {
  const [tokens, experts, topK] = [256, 16, 2];
  const balanced = (tokens * topK) / experts;
  const random = randomStream(1, 'gates');
  const gates = new Float64Array(tokens * experts);
  for (let i = 0; i < gates.length; i++) gates[i] = 2.5 * random() + 1.5 * Math.sin(i % experts);
  softmaxRows(gates, tokens, experts, gates);

  const loadsOf = (chosen: Uint16Array) => {
    const loads = new Int32Array(experts);
    for (const expert of chosen) loads[expert]++;
    return loads;
  };
  const farthest = (loads: Int32Array) => Math.max(...Array.from(loads, (load) => Math.abs(load - balanced)));
  const valueOf = (chosen: Uint16Array) =>
    chosen.reduce((sum, expert, i) => sum + gates[Math.floor(i / topK) * experts + expert], 0);

  /** An assignment with equal loads: copies of full experts move to the emptier ones where it costs least. */
  function repaired(chosen: Uint16Array): Uint16Array {
    const fixed = chosen.slice();
    for (;;) {
      const loads = loadsOf(fixed);
      let best = { gain: -Infinity, at: -1, to: -1 };
      for (let i = 0; i < fixed.length; i++) {
        const token = Math.floor(i / topK);
        if (loads[fixed[i]] <= balanced) continue;
        for (let to = 0; to < experts; to++) {
          const own = fixed.subarray(token * topK, (token + 1) * topK);
          if (loads[to] >= balanced || own.includes(to)) continue;
          const gain = gates[token * experts + to] - gates[token * experts + fixed[i]];
          if (gain > best.gain) best = { gain, at: i, to };
        }
      }
      if (best.at < 0) return fixed;
      fixed[best.at] = best.to;
    }
  }

  /** Prices after `steps` over the same tokens; `each` sees every step. */
  function climb(
    move: (prices: Float64Array, loads: Int32Array, step: number) => void,
    each: (chosen: Uint16Array, prices: Float64Array) => void = () => undefined,
    steps = 1000,
  ) {
    const prices = new Float64Array(experts);
    for (let step = 1; step <= steps; step++) {
      const chosen = choose(gates, prices, tokens, experts, topK);
      each(chosen, prices);
      move(prices, loadsOf(chosen), step);
    }
    return { prices, chosen: choose(gates, prices, tokens, experts, topK) };
  }

  const start = choose(gates, null, tokens, experts, topK);
  const schedules = [
    ['proportional-sqrt', 0.1],
    ['sign-sqrt', 0.05],
    ['sign-harmonic', 0.2],
  ] as const;

  it('starts from skewed gates', () => expect(farthest(loadsOf(start)) / balanced).toBeGreaterThan(2));

  it.each(schedules)('%s: the dual bounds every balanced routing, and closes the gap', (schedule, rate) => {
    let lowest = Infinity;
    const { prices, chosen } = climb(
      (own, loads, step) => movePrices(own, loads, schedule, rate, step),
      (_, own) => (lowest = Math.min(lowest, dualValue(gates, own, topK))),
    );
    const feasible = repaired(chosen);
    expect(farthest(loadsOf(feasible))).toBe(0);
    const value = valueOf(feasible);
    expect(lowest).toBeGreaterThanOrEqual(value - 1e-9);
    expect(dualValue(gates, prices, topK) / value - 1).toBeLessThan(5e-3);
    expect(valueOf(chosen) / value).toBeGreaterThan(0.995);
    expect(valueOf(chosen) / value).toBeLessThan(1.01);
    expect(farthest(loadsOf(chosen))).toBeLessThanOrEqual(experts - 1);
    expect(Math.abs(prices.reduce((sum, price) => sum + price, 0))).toBeLessThan(1e-9);
  });

  it('by hand: three overloaded copies, one step of each schedule', () => {
    const moved = (schedule: 'proportional-sqrt' | 'sign-sqrt' | 'sign-harmonic', step: number) => {
      const prices = new Float64Array(2);
      movePrices(prices, [3, 1], schedule, 0.4, step);
      return Array.from(prices, (price) => Number(price.toFixed(12)));
    };
    // Overloaded experts go down: (L − A)/L is −1/2 and 1/2.
    expect(moved('proportional-sqrt', 4)).toEqual([-0.1, 0.1]);
    expect(moved('sign-sqrt', 4)).toEqual([-0.2, 0.2]);
    expect(moved('sign-harmonic', 4)).toEqual([-0.1, 0.1]);
  });

  it('a large fixed step goes round in circles, the wider the larger it is', () => {
    const amplitude = (rate: number) => {
      const seen: number[] = [];
      climb(
        (prices, loads) => {
          for (let e = 0; e < experts; e++) prices[e] += rate * Math.sign(balanced - loads[e]);
        },
        (chosen) => seen.push(farthest(loadsOf(chosen))),
      );
      return seen.slice(-100).reduce((sum, x) => sum + x, 0) / 100;
    };
    const [small, large] = [amplitude(2e-3), amplitude(4e-2)];
    expect(large).toBeGreaterThan(2 * small);
    expect(large).toBeGreaterThan(experts);
  });

  it('a token that switches goes to an expert whose price has risen against that of the one it leaves', () => {
    let before: { chosen: Uint16Array; prices: Float64Array } | null = null;
    let switches = 0;
    climb(
      (prices, loads, step) => movePrices(prices, loads, 'sign-sqrt', 0.05, step),
      (chosen, prices) => {
        for (let token = 0; before !== null && token < tokens; token++) {
          const [old, now] = [before.chosen, chosen].map((c) => [
            ...c.subarray(token * topK, (token + 1) * topK),
          ]);
          for (const left of old.filter((e) => !now.includes(e))) {
            for (const joined of now.filter((e) => !old.includes(e))) {
              switches++;
              expect(prices[joined] - before.prices[joined]).toBeGreaterThanOrEqual(
                prices[left] - before.prices[left],
              );
            }
          }
        }
        before = { chosen, prices: prices.slice() };
      },
      100,
    );
    expect(switches).toBeGreaterThan(100);
  });
});
