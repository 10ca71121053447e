/** Experts of different bits in a run: weights, traffic, time and placement (MC#; seed system c). */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { defaultProfile, findStage, gpuPresets, stageCost, stageSeconds } from '../../src/hardware/index.js';
import { openScenario, run, runOpened } from '../../src/run.js';
import type { ScenarioInput } from '../../src/scenario/index.js';
import type { PolicyResult } from '../../src/simulation/index.js';
import { simulateScenario } from './random-scenario.js';

const EXPERTS = 16;

/** A decode that is bound by reading weights. */
const decode: ScenarioInput = {
  model: { hiddenSize: 4096, expertHiddenSize: 4096, experts: EXPERTS, topK: 2, moeLayers: 2 },
  cluster: { gpu: 'h100', gpus: 4, gpusPerNode: 4 },
  runtime: 'ideal',
  workload: {
    phase: 'decode',
    tokensPerGpu: 64,
    steps: 3,
    routing: { kind: 'log-normal', sigma: 0.5, redraw: 'run' },
  },
  policies: ['ep', { kind: 'llep', imbalanceThreshold: 0, minTokensPerGemm: 1 }],
  resamples: 0,
};

const policy = ({ policies }: { policies: PolicyResult[] }, kind: string) =>
  policies.find((own) => own.policy.kind === kind)!;

const allAt = (bits: number, changes: object = {}): ScenarioInput => ({
  ...decode,
  precision: { bits, ...changes },
});

describe('experts of fewer bits', () => {
  it('bits of the shipped width change nothing', async () => {
    const shipped = await run(decode);
    const same = await run(allAt(16, { overheadBits: 0, dequantisation: 1 }));
    const times = ({ policies }: typeof shipped) =>
      policies.map(({ stepLatency, peakMemory, bytes, bound }) => [
        stepLatency.mean,
        peakMemory.max,
        bytes,
        bound,
      ]);
    expect(times(same)).toEqual(times(shipped));
  });

  it('weights in memory and on the links fall by the bit ratio, scales included', async () => {
    const [shipped, low] = [await run(decode), await run(allAt(2))];
    const ratio = 2.25 / 16;
    for (const kind of ['ep', 'llep']) {
      const before = policy(shipped, kind).peakMemory.byCategory;
      const after = policy(low, kind).peakMemory.byCategory;
      expect(after.weights).toBe(before.weights * ratio);
      expect(after.borrowedWeights).toBe(before.borrowedWeights * ratio);
      expect(after.activations).toBe(before.activations);
    }
    expect(policy(shipped, 'llep').bytes.weights).toBeGreaterThan(0);
    expect(policy(low, 'llep').bytes.weights).toBe(policy(shipped, 'llep').bytes.weights * ratio);
  });

  it('reading them takes bits over efficiency', async () => {
    const shape = { hiddenSize: 4096, expertHiddenSize: 4096, weightDtype: 'bf16' } as const;
    const stage = findStage(defaultProfile(gpuPresets.h100), shape, 'fused', 'serving');
    const shipped = stageCost(stage, shape);
    const slowest = async (precision: ScenarioInput['precision'], bitsOverRate: number) => {
      const cost = {
        ...shipped,
        weightSecondsPerExpert: (shipped.weightSecondsPerExpert * bitsOverRate) / 16,
      };
      let expected = 0;
      const { policies } = await simulateScenario(
        { ...decode, precision, policies: ['ep'], workload: { ...decode.workload, steps: 1 } },
        ({ work, policy: { kind } }) => {
          if (kind !== 'ep') return;
          const seconds = Array.from({ length: 4 }, (_, gpu) =>
            stageSeconds(cost, work.roundedRowsOn(gpu), work.activeOn(gpu), work.rowsOn(gpu), 4),
          );
          expected = Math.max(...seconds);
        },
      );
      expect(policies[0].time.critical.experts).toBeCloseTo(expected, 12);
      return expected;
    };
    const full = await slowest(undefined, 16);
    const real = await slowest({ bits: 2 }, 2.25 / 0.27);
    const ideal = await slowest({ bits: 2, dequantisation: 1 }, 2.25);
    expect(ideal).toBeLessThan(real);
    expect(real).toBeLessThan(full);
    // What is slower to read than as shipped is said.
    const { routing } = await run(allAt(8));
    expect(routing.notes.join()).toContain('read more slowly than the 16 they shipped in');
  });

  it('every GPU holds the bits of its own experts', async () => {
    const bits = Array.from({ length: EXPERTS }, (_, e) => 1 + (e % 3));
    const { policies, precision } = await run({ ...decode, precision: { bits } });
    const weights = 3 * 4096 * 4096;
    const { perGpu, byCategory } = policies[0].peakMemory;
    const fullest = perGpu.indexOf(Math.max(...perGpu));
    const own = bits.slice(4 * fullest, 4 * fullest + 4);
    expect(byCategory.weights).toBe(own.reduce((sum, b) => sum + Math.ceil((weights * (b + 0.25)) / 8), 0));
    expect(precision!.averageBits).toBeCloseTo(31 / 16, 12);
    expect(precision!.proxy).toBeNull();
  });

  it('shared experts stay as shipped: what they add to a step does not hang on the others’ bits', async () => {
    const added = async (precision: ScenarioInput['precision']) => {
      const own = { kind: 'combination' as const, sharedExperts: 'own-gpu' as const };
      const { policies } = await run({
        ...decode,
        precision,
        model: { ...(decode.model as object), sharedExperts: 1 } as ScenarioInput['model'],
        policies: ['ep', own],
      });
      const seconds = (kind: string) => policy({ policies }, kind).time.phases.experts!;
      return seconds('combination') - seconds('ep');
    };
    const unpackedAtOnce = await added({ bits: 2, dequantisation: 1 });
    expect(unpackedAtOnce).toBeGreaterThan(0);
    expect(await added({ bits: 2, dequantisation: 0.05 })).toBeCloseTo(unpackedAtOnce, 12);
    expect(await added({ bits: 4, dequantisation: 0.27 })).toBeCloseTo(unpackedAtOnce, 12);
  });

  it('a policy whose donors pay in bits as shipped is refused', async () => {
    await expect(
      run({ ...decode, precision: { bits: 4 }, policies: [{ kind: 'replicate-quantize', bits: 2 }] }),
    ).rejects.toThrow('replicas: found 1 beside precision');
  });
});

describe('placement of experts of different bits', () => {
  it('balancing bytes and copies together beats balancing copies alone in peak memory and in time', async () => {
    const file = new URL('../../scenarios/systems/precision-placement.json', import.meta.url);
    const scenario = JSON.parse(readFileSync(file, 'utf8')) as ScenarioInput;
    const { policies, precision } = await run(scenario, { file: file.pathname });
    const [, byCopies, byBoth] = policies;
    expect(new Set(precision!.bits[0])).toEqual(new Set([1, 2, 3]));
    expect(byBoth.peakMemory.byCategory.weights).toBeLessThan(0.95 * byCopies.peakMemory.byCategory.weights);
    expect(byBoth.peakMemory.max).toBeLessThan(byCopies.peakMemory.max);
    expect(byBoth.stepLatency.mean).toBeLessThan(byCopies.stepLatency.mean);
    expect(byBoth.exact).toBe(true);
    // The proxy of the plan lies between those of all experts at 1 and at 3 bits, and below that of all at 2.
    const { plan, uniform } = precision!.proxy!;
    expect(plan).toBeLessThan(uniform[1].proxy);
    expect(plan).toBeGreaterThan(uniform[2].proxy);
  });
});

describe('the precision block', () => {
  const wrong = async (precision: object, changes: object = {}) =>
    run({ ...decode, ...changes, precision }).then(
      () => 'ran',
      (error: Error) => error.message,
    );

  it('says what is wrong with it', async () => {
    expect(await wrong({})).toBe(
      'scenario: precision: found neither bits nor sensitivity, allowed: one of them: "bits": 2, or "sensitivity": ' +
        '"file.json" with "averageBits": 2.5',
    );
    expect(await wrong({ bits: [1, 2] })).toContain('precision.bits: found a list of 2 experts');
    expect(await wrong({ bits: 16 })).toContain(
      'precision.bits: found 16.25 bits in memory, allowed: at most the 16',
    );
    expect(await wrong({ bits: 2, averageBits: 3 })).toContain('precision.averageBits: found 3 beside bits');
    expect(await wrong({ bits: 2, restBits: 4 })).toContain('precision.restBits: found 4');
    expect(await wrong({ sensitivity: 'nowhere.json', averageBits: 2 })).toContain('nowhere.json');
    expect(await wrong({ bits: 2 }, { workload: { ...decode.workload, phase: 'training' } })).toContain(
      'precision: found bits of experts in training',
    );
  });

  it('plans from a file of losses, or takes the plan of one; a block for each phase is chosen by the phase', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'epsim-'));
    try {
      const counts = Array.from({ length: EXPERTS }, (_, e) => 100 + e);
      const sensitivity = {
        schema: 'epsim/sensitivity@1',
        bits: [2, 4],
        counts: [counts],
        gateWeights: [counts],
        losses: [counts.map(() => [4, 1])],
      };
      writeFileSync(join(folder, 'losses.json'), JSON.stringify(sensitivity));
      const block = { sensitivity: 'losses.json', averageBits: 3 };
      const planned = await run({ ...decode, precision: block }, { baseDir: folder });
      const half = EXPERTS / 2;
      // Of equal losses the more used half gets the bits.
      expect(planned.precision!.bits[0]).toEqual(counts.map((_, e) => (e < half ? 2 : 4)));
      const plan = {
        schema: 'epsim/precision-plan@1',
        layerIds: [0],
        bits: planned.precision!.bits,
        averageBits: 3,
        proxy: [1],
      };
      writeFileSync(join(folder, 'plan.json'), JSON.stringify(plan));
      const taken = await run({ ...decode, precision: { bits: 'plan.json' } }, { baseDir: folder });
      expect(taken.precision!.bits).toEqual(planned.precision!.bits);
      expect(taken.policies.map((own) => own.stepLatency.mean)).toEqual(
        planned.policies.map((own) => own.stepLatency.mean),
      );
      const phases = { prefill: { bits: 4 }, decode: block };
      const chosen = await run({ ...decode, precision: phases }, { baseDir: folder });
      expect(chosen.precision).toEqual(planned.precision);
      const prefill = { ...decode, workload: { ...decode.workload, phase: 'prefill' as const } };
      expect((await run({ ...prefill, precision: phases }, { baseDir: folder })).precision!.averageBits).toBe(
        4,
      );
      expect(await run({ ...prefill, precision: { decode: block } }, { baseDir: folder })).not.toHaveProperty(
        'precision',
      );
      writeFileSync(join(folder, 'losses.json'), JSON.stringify({ ...sensitivity, losses: [[[4, 1]]] }));
      await expect(run({ ...decode, precision: block }, { baseDir: folder })).rejects.toThrow(
        /losses\.json: losses.*16 experts/,
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('replicas whose donors a solver chooses', () => {
  const file = new URL('../../scenarios/systems/precision-placement.json', import.meta.url).pathname;
  const sensitivity = '../../traces/precision/sensitivity-64-experts.json';
  const scenario = (policies: ScenarioInput['policies']): ScenarioInput => ({
    ...decode,
    model: { ...(decode.model as object), experts: 64 } as ScenarioInput['model'],
    policies,
  });
  const planned = { kind: 'replicate-quantize' as const, replicas: 4, bits: 4, sensitivity };

  it('take no more bits than experts as shipped, at widths that the file knows', async () => {
    const seen: number[][] = [];
    const opened = await openScenario(scenario(['ep', planned]), { file });
    const { result } = runOpened(opened, undefined, {
      onLayer: ({ plan }, _base, _seconds, { policy: index }) => {
        if (index === 1) seen.push([...plan!.placement.slotBits]);
      },
    });
    expect(seen).toHaveLength(3);
    for (const bits of seen) {
      expect(bits).toHaveLength(64 + 4);
      expect(bits.reduce((sum, own) => sum + own, 0)).toBeLessThanOrEqual(64 * 16);
      // Replicas have 4 bits; one donor pays at most 16 − 1, so that four replicas need two.
      expect(bits.filter((own) => own === 4)).toHaveLength(4);
      expect(bits.filter((own) => own < 4)).toHaveLength(2);
    }
    expect(policy(result, 'replicate-quantize').loss!.quantisedCopies).toBeGreaterThan(0);
  });

  it.each<[string, ScenarioInput['policies'], string]>([
    ['another model', [planned], "of 64 experts, allowed: one of the model's 16"],
    [
      'donors of a GPU',
      [{ ...planned, donors: 'per-gpu' }],
      'donors: found per-gpu beside sensitivity, allowed: global',
    ],
    ['a bill that nobody can pay', [{ ...planned, replicas: 62, bits: 15 }], 'fewer replicas, or fewer bits'],
  ])('refuse %s', async (what, policies, message) => {
    const given = what === 'another model' ? { ...decode, policies } : scenario(policies);
    await expect(run(given, { file })).rejects.toThrow(message);
  });
});
