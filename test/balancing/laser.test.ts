/** LASER (arXiv 2510.03293): its limits, a case by hand, and the frontier of balance against kept scores. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { laser } from '../../src/balancing/policies/laser.js';
import type { LayerView, PolicySetting } from '../../src/balancing/policy.js';
import { CandidateTable, generatorSource, KeptSteps, type TokenTable } from '../../src/routing/index.js';
import { writeInPieces } from '../../src/files/index.js';
import { recordTrace } from '../../src/record-trace.js';
import { openScenario, run } from '../../src/run.js';
import type { ScenarioInput } from '../../src/scenario/index.js';
import { policySetting } from './policy-setting.js';

type Changes = Omit<z.input<typeof laser.options>, 'kind'>;

const settingOf = (gpus: number, experts: number, topK: number): PolicySetting =>
  policySetting(gpus, experts, { hasTokens: true, hasGateWeights: true, candidates: experts, topK });

function rewrite(setting: PolicySetting, table: TokenTable, counts: Int32Array, changes: Changes) {
  const options = laser.options.parse({ kind: 'laser', ...changes });
  const view = { step: 0, layer: 0, counts, tokens: table } as LayerView;
  return laser.decide(laser.start(options, setting), view).plan.rewrite!;
}

/** Scores by token and expert on one GPU, the router taking the best topK. */
function byHand(scores: readonly (readonly number[])[], topK: number) {
  const experts = scores[0].length;
  const candidates = new CandidateTable(scores.length, experts);
  scores.forEach((own, token) => candidates.rank(token, own));
  const picks = Uint16Array.from(
    scores.flatMap((_, token) => [...candidates.experts.subarray(token * experts, token * experts + topK)]),
  );
  const counts = new Int32Array(experts);
  for (const expert of picks) counts[expert]++;
  const table: TokenTable = {
    count: scores.length,
    topK,
    experts: picks,
    source: new Uint16Array(scores.length),
    weights: null,
    candidates,
  };
  return { setting: settingOf(1, experts, topK), table, counts };
}

/** A flat gate of 64 experts and top 6, as large as a step of eight GPUs. */
function flatGate() {
  const [gpus, experts, topK] = [8, 64, 6];
  const source = generatorSource({
    options: {
      kind: 'gate',
      popularity: 0.4,
      spread: 1,
      perLayer: true,
      redraw: 'run',
      tokens: true,
      gateWeights: true,
    },
    setting: { gpus, experts, topK, routerGroups: 1, topGroups: 1, tokensPerGpu: 512 },
    layerIds: [0],
    steps: 1,
    seed: 3,
  });
  const [{ counts, tokens }] = source.start().next()!.layers;
  return { setting: settingOf(gpus, experts, topK), table: tokens!, counts };
}

/** Max over mean load of the experts. */
function imbalance(counts: Int32Array, experts: number): number {
  const loads = new Float64Array(experts);
  counts.forEach((copies, cell) => (loads[cell % experts] += copies));
  return Math.max(...loads) / (loads.reduce((a, b) => a + b, 0) / experts);
}

describe('LASER by hand', () => {
  const scores = [
    [0.4, 0.3, 0.2, 0.1],
    [0.4, 0.3, 0.2, 0.1],
    [0.9, 0.05, 0.03, 0.02],
    [0.4, 0.3, 0.2, 0.1],
  ];
  const { setting, table, counts } = byHand(scores, 1);

  it('tokens of flat scores go to the least loaded candidate, of equal loads to the better one', () => {
    const changed = rewrite(setting, table, counts, { candidates: 3, peaked: 0.6, cutoff: 0.5 });
    // The third is peaked; candidates of the others score 0.2 or more.
    expect(Array.from(changed.tokens.experts)).toEqual([0, 1, 0, 2]);
    expect(Array.from(changed.counts)).toEqual([2, 1, 1, 0]);
    expect(changed.copies).toBe(2);
    expect(changed.keptGateMass).toBeCloseTo((0.4 + 0.3 + 0.9 + 0.2) / (3 * 0.4 + 0.9), 6);
  });

  it('a cutoff leaves out candidates that score too little', () => {
    const changed = rewrite(setting, table, counts, { candidates: 3, peaked: 0.6, cutoff: 0.7 });
    expect(Array.from(changed.tokens.experts)).toEqual([0, 1, 0, 1]);
  });

  it('loads that are two tokens behind show the second what the first did only later', () => {
    const changed = rewrite(setting, table, counts, { candidates: 4, peaked: 2, cutoff: 0, staleness: 2 });
    expect(Array.from(changed.tokens.experts)).toEqual([0, 0, 0, 1]);
  });

  it('memory of the run goes on where the step before ended', () => {
    const options = laser.options.parse({
      kind: 'laser',
      candidates: 4,
      peaked: 2,
      cutoff: 0,
      staleness: 100,
      memory: 'run',
    });
    const view = { step: 0, layer: 0, counts, tokens: table } as LayerView;
    const state = laser.start(options, setting);
    const first = Array.from(laser.decide(state, view).plan.rewrite!.tokens.experts);
    const second = Array.from(laser.decide(state, view).plan.rewrite!.tokens.experts);
    expect([first, second]).toEqual([
      [0, 0, 0, 0],
      [1, 1, 1, 1],
    ]);
  });
});

describe('LASER’s limits', () => {
  const { setting, table, counts } = flatGate();

  it.each<Changes>([
    { peaked: 0 },
    { candidates: 6, peaked: 2, cutoff: 0 },
    { candidates: 1, peaked: 2, cutoff: 0 },
    { peaked: 2, cutoff: 1 },
    { peaked: 2, cutoff: 0, staleness: 8 * 512 },
  ])('%j leaves the router’s choice as it is', (changes) => {
    const changed = rewrite(setting, table, counts, changes);
    expect(changed.counts).toEqual(counts);
    expect([changed.copies, changed.keptGateMass]).toEqual([0, 1]);
    expect(changed.gpusRewritten).toBe(changed.gpusRouted);
  });

  it('all experts, no cutoff and nothing peaked: loads alone decide, and are even', () => {
    const changed = rewrite(setting, table, counts, { candidates: 64, peaked: 2, cutoff: 0 });
    expect(imbalance(counts, 64)).toBeGreaterThan(3);
    expect(imbalance(changed.counts, 64)).toBeLessThan(1.005);
    const onGpus = rewrite(setting, table, counts, { candidates: 64, peaked: 2, cutoff: 0, loads: 'gpu' });
    const gpus = new Float64Array(8);
    onGpus.counts.forEach((copies, cell) => (gpus[Math.floor((cell % 64) / 8)] += copies));
    expect((Math.max(...gpus) * 8) / gpus.reduce((a, b) => a + b, 0)).toBeLessThan(1.005);
  });

  it('tokens keep different experts, as many as before', () => {
    const { tokens } = rewrite(setting, table, counts, { candidates: 12, peaked: 2 });
    for (let token = 0; token < tokens.count; token++) {
      expect(new Set(tokens.experts.subarray(6 * token, 6 * token + 6)).size).toBe(6);
    }
  });

  it('more tokens that may move: less imbalance and less score left, along a frontier', () => {
    const frontier = [0, 0.3, 0.4, 0.5, 0.6, 2].map((peaked) =>
      rewrite(setting, table, counts, { candidates: 12, peaked, cutoff: 0.3 }),
    );
    for (let i = 1; i < frontier.length; i++) {
      const [less, more] = [frontier[i - 1], frontier[i]];
      expect(imbalance(more.counts, 64)).toBeLessThanOrEqual(imbalance(less.counts, 64));
      expect(more.keptGateMass).toBeLessThanOrEqual(less.keptGateMass);
    }
  });

  it('reductions of the published range keep 92 % of the scores; the public code’s other example does nothing', () => {
    const at = (candidates: number, peaked: number, cutoff: number) => {
      const changed = rewrite(setting, table, counts, { candidates, peaked, cutoff });
      return {
        reduction: imbalance(counts, 64) / imbalance(changed.counts, 64),
        kept: changed.keptGateMass,
      };
    };
    const moderate = at(12, 0.4, 0.3);
    expect(moderate.reduction).toBeGreaterThan(1.4);
    expect(moderate.reduction).toBeLessThan(1.9);
    expect(moderate.kept).toBeGreaterThan(0.92);
    const more = at(12, 0.6, 0.3);
    expect(more.reduction).toBeGreaterThan(1.9);
    expect(more.kept).toBeGreaterThan(0.9);
    expect(at(10, 0.4, 0.8).reduction).toBeLessThan(1.01);
  });

  it('loads that are known late balance less', () => {
    const late = [0, 64, 1024, 4096].map((staleness) =>
      imbalance(rewrite(setting, table, counts, { candidates: 12, peaked: 2, staleness }).counts, 64),
    );
    for (let i = 1; i < late.length; i++) expect(late[i]).toBeGreaterThanOrEqual(late[i - 1]);
    expect(late[3]).toBe(imbalance(counts, 64));
  });
});

describe('LASER in a run', () => {
  const scenario: ScenarioInput = {
    model: { hiddenSize: 2048, expertHiddenSize: 1408, experts: 64, topK: 6, moeLayers: 1 },
    cluster: { gpu: 'h100', gpus: 8, gpusPerNode: 8 },
    workload: {
      phase: 'prefill',
      tokensPerGpu: 256,
      steps: 3,
      routing: { kind: 'gate', popularity: 0.4, spread: 1, redraw: 'run' },
    },
    policies: ['ep', { kind: 'laser', candidates: 12 }, { kind: 'laser', peaked: 0 }],
    resamples: 0,
  };

  it('is inexact, keeps all copies, and says what is left of the scores and how many GPUs a token needs', async () => {
    const { policies } = await run({ ...scenario, runtime: 'deepep-normal' });
    const [ep, moved, same] = policies;
    expect([moved.exact, same.exact]).toEqual([false, true]);
    expect(moved.copies.routed).toBe(ep.copies.routed);
    expect(moved.copies.dropped).toBe(0);
    expect(moved.loss!.keptCopies).toBe(ep.copies.routed);
    expect(moved.loss!.rewritten!.copies).toBeGreaterThan(0);
    expect(moved.loss!.keptGateMass).toBeGreaterThan(0.85);
    expect(moved.loss!.keptGateMass).toBeLessThan(1);
    expect(moved.imbalance.expert.after.maxOverMean).toBeLessThan(
      0.8 * ep.imbalance.expert.after.maxOverMean,
    );
    const { routed, rewritten } = moved.loss!.rewritten!.gpusPerToken;
    expect(rewritten).toBeGreaterThan(routed);
    expect(rewritten).toBeLessThanOrEqual(6);
    // A token that needs more GPUs is sent to more of them.
    expect(moved.bytes.dispatch / ep.bytes.dispatch).toBeGreaterThan(1);
    expect({ ...same, policy: 0, uncertainty: 0, speedup: 0 }).toEqual({
      ...ep,
      policy: 0,
      uncertainty: 0,
      speedup: 0,
    });
  });

  it('without communication a step’s time is linear in the imbalance of the GPUs', async () => {
    const { policies } = await run({
      ...scenario,
      runtime: 'ideal',
      workload: { ...scenario.workload, tokensPerGpu: 4096, steps: 1 },
      policies: [
        'ep',
        ...[0.3, 0.35, 0.4, 2].map((peaked) => ({ kind: 'laser', peaked, loads: 'gpu' }) as const),
      ],
    });
    const points = policies
      .filter(({ policy }) => policy.kind !== 'balanced')
      .map(({ imbalance, time }) => [imbalance.gpu.after.maxOverMean, time.critical.experts!]);
    const [[worst, slowest]] = points;
    const [best, fastest] = points[points.length - 1];
    expect(best).toBeLessThan(0.8 * worst);
    for (const [gamma, seconds] of points) {
      const linear = fastest + ((slowest - fastest) * (gamma - best)) / (worst - best);
      expect(Math.abs(seconds / linear - 1)).toBeLessThan(0.05);
    }
  });

  it('needs scores of more experts than the chosen ones', async () => {
    const chosenOnly: ScenarioInput = {
      ...scenario,
      workload: { ...scenario.workload, routing: { kind: 'log-normal', sigma: 1, gateWeights: true } },
    };
    await expect(run(chosenOnly)).rejects.toThrow(
      'policies[1].kind: found laser, but the routing holds scores of the chosen experts only, allowed: routing with ' +
        'scores of more experts',
    );
    await expect(run({ ...scenario, policies: [{ kind: 'laser', candidates: 65 }] })).rejects.toThrow(
      'policies[0].candidates: found 65 of 64 experts',
    );
  });

  it('chooses alike from steps that several scenarios share', async () => {
    const sources = new KeptSteps(1e9);
    const [first, again] = [await run(scenario, { sources }), await run(scenario, { sources })];
    expect(first.policies).toEqual((await run(scenario)).policies);
    expect(again.policies).toEqual(first.policies);
  });

  it('chooses alike from a recording that holds more experts of every token than the model uses', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'epsim-'));
    try {
      const path = join(folder, 'gate.parquet');
      const opened = await openScenario(scenario);
      const header = await writeInPieces(path, (sink) => recordTrace(opened, sink));
      expect(header.topK).toBe(64);
      const replay = (candidates: boolean): ScenarioInput => ({
        ...scenario,
        workload: {
          phase: 'prefill',
          routing: { kind: 'trace', path, batching: 'recorded', candidates },
        },
      });
      const [drawn, replayed] = [await run(scenario), await run(replay(true))];
      expect(replayed.policies).toEqual(drawn.policies);
      await expect(run(replay(false))).rejects.toThrow(/with top-k 64, allowed: .* with top-k 6/);
      const model = { ...(scenario.model as object), topK: 64 } as ScenarioInput['model'];
      await expect(run({ ...replay(true), model })).rejects.toThrow(
        /workload\.routing\.candidates: found true, but .* holds 64 experts of every token, allowed: false/,
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('chooses among what pruning leaves: as many experts as a token keeps', async () => {
    const pruned: ScenarioInput = {
      ...scenario,
      workload: { ...scenario.workload, pruning: { kind: 'keep-share', share: 0.7 } },
    };
    const { policies } = await run(pruned);
    expect(policies[1].copies.routed).toBe(Math.round(0.7 * 8 * 256 * 6) * 3);
    expect(policies[1].loss!.rewritten!.copies).toBeGreaterThan(0);
  });
});
