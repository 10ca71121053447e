/** Tokens that skip experts: ODP (MC), keep shares (OTP of MC#), thresholds (SimBal). */
import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { run } from '../../src/run.js';
import { NO_EXPERT, prunedSource, type PruningOptions, type RoutingSource } from '../../src/routing/index.js';
import { keepSharePruning } from '../../src/routing/pruning/keep-share.js';
import { ratioPruning } from '../../src/routing/pruning/ratio.js';
import { thresholdPruning } from '../../src/routing/pruning/threshold.js';
import type { PruningRule, WeightedTokens } from '../../src/routing/pruning/rule.js';
import { randomStream } from '../../src/routing/random.js';
import type { ScenarioInput } from '../../src/scenario/index.js';
import { simulateScenario } from '../simulation/random-scenario.js';

/** A table of one source GPU; rows of gate weights by token. */
function table(rows: readonly (readonly number[])[]): WeightedTokens {
  const topK = rows[0].length;
  return {
    count: rows.length,
    topK,
    experts: Uint16Array.from(rows.flatMap((row) => row.map((_, choice) => choice))),
    source: new Uint16Array(rows.length),
    weights: Float32Array.from(rows.flat()),
  };
}

function kept<Options>(
  rule: PruningRule<Options>,
  options: Options,
  tokens: WeightedTokens,
  learned: WeightedTokens[] = [],
): number[] {
  const into = new Uint8Array(tokens.count * tokens.topK);
  const pruner = rule.start(options, tokens.topK, learned);
  pruner.keep(tokens, 0, () => randomStream(1, 'protected'), into);
  return Array.from(into);
}

const ratio = { kind: 'ratio', below: 0.5, protect: 0, calibrationShare: 0.1 } as const;

describe('rules', () => {
  it('ratio: the second expert goes where it weighs less than a part of the first, whichever comes first', () => {
    const tokens = table([
      [0.8, 0.2],
      [0.6, 0.4],
      [0.3, 0.7],
      [0.5, 0.25],
    ]);
    expect(kept(ratioPruning, ratio, tokens)).toEqual([1, 0, 1, 1, 0, 1, 1, 1]);
    expect(kept(ratioPruning, { ...ratio, below: 0 }, tokens)).toEqual(new Array(8).fill(1));
    expect(kept(ratioPruning, { ...ratio, protect: 1 }, tokens)).toEqual(new Array(8).fill(1));
  });

  it('ratio: the median of the calibration skips half of the second experts there', () => {
    const learned = table(Array.from({ length: 101 }, (_, i) => [1, (i + 1) / 128]));
    const result = kept(ratioPruning, { ...ratio, below: 'median' }, learned, [learned]);
    expect(result.reduce((sum, own) => sum + own, 0)).toBe(202 - 50);
  });

  it('ratio: 2 % of the tokens are protected, so that a little less is skipped', () => {
    const tokens = table(new Array<number[]>(20_000).fill([0.9, 0.1]));
    const left = kept(ratioPruning, { ...ratio, protect: 0.02 }, tokens).reduce((sum, own) => sum + own, 0);
    expect(left / 20_000).toBeGreaterThan(1.017);
    expect(left / 20_000).toBeLessThan(1.023);
  });

  it('threshold: what weighs less is skipped, the first too', () => {
    const tokens = table([
      [0.1, 0.05],
      [0.2, 0.15],
      [0.6, 0.1],
    ]);
    // 0.15 as a 32-bit float lies above 0.15.
    expect(kept(thresholdPruning, { kind: 'threshold', least: 0.15 }, tokens)).toEqual([0, 0, 1, 1, 1, 0]);
  });

  test.prop([
    fc.integer({ min: 2, max: 6 }).chain((topK) =>
      fc.array(fc.array(fc.constantFrom(0.1, 0.2, 0.4, 0.8), { minLength: topK, maxLength: topK }), {
        minLength: 1,
        maxLength: 40,
      }),
    ),
    fc.double({ min: 0.5, max: 1, noNaN: true }),
  ])(
    'keep-share: keeps the share, a copy of every token, and no part smaller than one it skips',
    (rows, share) => {
      const tokens = table(rows);
      const { topK } = tokens;
      const result = kept(keepSharePruning, { kind: 'keep-share', share }, tokens);
      const left = result.reduce((sum, own) => sum + own, 0);
      expect(left).toBe(Math.max(rows.length, Math.round(share * rows.length * topK)));
      const parts = { kept: [] as number[], skipped: [] as number[] };
      rows.forEach((row, token) => {
        const own = result.slice(token * topK, (token + 1) * topK);
        expect(own).toContain(1);
        const first = tokens.weights.subarray(token * topK, (token + 1) * topK);
        const best = first.indexOf(Math.max(...first));
        const sum = first.reduce((a, b) => a + b, 0);
        row.forEach((_, choice) => {
          if (choice !== best) parts[own[choice] ? 'kept' : 'skipped'].push(first[choice] / sum);
        });
      });
      expect(Math.min(...parts.kept, 1)).toBeGreaterThanOrEqual(Math.max(...parts.skipped, 0));
    },
  );

  it('refuse what can not be', () => {
    expect(() => keepSharePruning.start({ kind: 'keep-share', share: 0.2 }, 4, [])).toThrow(/at least 0.25/);
    expect(() => ratioPruning.start(ratio, 1, [])).toThrow(/one expert per token/);
  });
});

const scenario: ScenarioInput = {
  model: { hiddenSize: 2048, expertHiddenSize: 2048, experts: 64, topK: 5, moeLayers: 1 },
  cluster: { gpu: 'h100', gpus: 4, gpusPerNode: 4 },
  workload: {
    phase: 'decode',
    tokensPerGpu: 32,
    steps: 4,
    routing: { kind: 'log-normal', sigma: 0.5, redraw: 'run', gateWeights: true },
  },
  policies: [
    'ep',
    { kind: 'llep', imbalanceThreshold: 0, minTokensPerGemm: 1 },
    { kind: 'eplb' },
    { kind: 'capacity', factor: 1 },
  ],
  resamples: 0,
};

const pruned = (pruning: PruningOptions | undefined, changes: Partial<ScenarioInput['workload']> = {}) => ({
  ...scenario,
  workload: { ...scenario.workload, ...changes, pruning },
});

describe('a pruned scenario', () => {
  it('keeps the copies that it says, the same for all policies, and says what gate weight is left', async () => {
    const { policies, routing } = await run(pruned({ kind: 'keep-share', share: 0.8 }));
    const all = 4 * 32 * 5 * 4;
    for (const { copies } of policies) expect(copies.routed).toBe(0.8 * all);
    expect(routing.pruned!.keptCopies).toBe(0.8);
    expect(routing.pruned!.keptGateMass).toBeGreaterThan(0.9);
    expect(routing.pruned!.keptGateMass).toBeLessThan(1);
    expect(routing.notes.join()).toContain('20.0 % of the copies are skipped for all policies');
    // Order position, and weights, of what is left: a capacity drops of that, not of what is gone.
    const capacity = policies[3].loss!;
    expect(capacity.keptCopies + policies[3].copies.dropped).toBe(0.8 * all);
  });

  it('(iv) keep 0.8 K lowers active bytes by 20 % and the step by no more', async () => {
    const active = async (pruning: PruningOptions | undefined) => {
      let experts = 0;
      const one = pruned(pruning, { tokensPerGpu: 1 });
      const { policies } = await simulateScenario(
        { ...one, cluster: { gpu: 'h100', gpus: 1, gpusPerNode: 1 }, policies: ['ep'] },
        ({ work, policy: { kind } }) => {
          if (kind === 'ep') experts += work.activeOn(0);
        },
      );
      return { experts, seconds: policies[0].stepLatency.mean };
    };
    const [before, after] = [await active(undefined), await active({ kind: 'keep-share', share: 0.8 })];
    expect(after.experts).toBe(0.8 * before.experts);
    expect(after.seconds).toBeLessThan(before.seconds);
    expect(after.seconds).toBeGreaterThan(0.8 * before.seconds);
    // Of a batch whose tokens share experts, less is saved.
    const whole = await run(pruned(undefined));
    const less = await run(pruned({ kind: 'keep-share', share: 0.8 }));
    less.policies.forEach(({ stepLatency }, i) => {
      expect(stepLatency.mean).toBeGreaterThan(0.8 * whole.policies[i].stepLatency.mean);
      expect(stepLatency.mean).toBeLessThan(1.001 * whole.policies[i].stepLatency.mean);
    });
  });

  it.each<ScenarioInput['runtime']>([
    'ideal',
    'allgather-reducescatter',
    'deepep-normal',
    'deepep-low-latency',
  ])('pruning nothing changes nothing: %s', async (runtime) => {
    const [whole, same] = [
      await run({ ...scenario, runtime }),
      await run({ ...pruned({ kind: 'threshold', least: 0 }), runtime }),
    ];
    expect(same.policies).toEqual(whole.policies);
  });

  it('speed-ups of a threshold are ordered as the weights are: the flatter gate loses more copies', async () => {
    const flat = await run(pruned({ kind: 'threshold', least: 0.15 }));
    const none = await run(pruned({ kind: 'threshold', least: 0.05 }));
    expect(flat.routing.pruned!.keptCopies).toBeLessThan(none.routing.pruned!.keptCopies);
    expect(flat.policies[0].stepLatency.mean).toBeLessThan(none.policies[0].stepLatency.mean);
  });

  it('says what it needs', async () => {
    const refused = (input: ScenarioInput) => run(input).catch((error: Error) => error.message);
    const counted = pruned({ kind: 'threshold', least: 0.1 }, { routing: { kind: 'zipf', exponent: 1 } });
    expect(await refused(counted)).toBe(
      'scenario: workload.pruning: found routing without gate weights, allowed: routing with them ' +
        '(workload.routing.gateWeights: true, or a recording that has them)',
    );
    expect(await refused(pruned({ kind: 'keep-share', share: 0.1 }))).toBe(
      'scenario: workload.pruning.share: found 0.1 of 5 experts, allowed: at least 0.2, one for every token',
    );
  });
});

describe('a pruned source', () => {
  it('gives skipped copies no expert, no weight and no count, in replicates too', () => {
    const tokens = table([
      [0.9, 0.1],
      [0.6, 0.4],
    ]);
    const source: RoutingSource = {
      gpus: 1,
      experts: 2,
      topK: 2,
      layerIds: [3],
      steps: 1,
      tokensPerGpu: 2,
      hasTokens: true,
      hasGateWeights: true,
      importance: null,
      notes: [],
      calibration: () => {
        throw new Error('not asked for');
      },
      start() {
        let done = false;
        return {
          next() {
            if (done) return null;
            done = true;
            const layers = [{ layer: 0, counts: Int32Array.of(2, 2), tokens }];
            return { step: 0, tokens: 2, tokensBySource: Int32Array.of(2), layers };
          },
        };
      },
      resample: () => source,
    };
    const options: PruningOptions = { kind: 'ratio', below: 0.5, protect: 0, calibrationShare: 0.1 };
    const skips = prunedSource(source, options, 1);
    for (const from of [skips, skips.resample!('again')]) {
      const [{ counts, tokens: left, pruned: sums }] = from.start().next()!.layers;
      expect(Array.from(counts)).toEqual([2, 1]);
      expect(Array.from(left!.experts)).toEqual([0, NO_EXPERT, 0, 1]);
      expect(left!.weights![1]).toBe(0);
      expect(sums).toMatchObject({ copies: 4, kept: 3 });
      expect(sums!.keptGateMass).toBeCloseTo(1.9, 6);
    }
    // What the router chose is as it was.
    expect(Array.from(tokens.experts)).toEqual([0, 1, 0, 1]);
  });
});
