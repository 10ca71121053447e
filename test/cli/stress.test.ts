/** `epsim stress`: two topics with disjoint hot experts, cuts of every kind, and what it refuses. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Result } from '../../src/index.js';
import type { RobustCost, StressReport } from '../../src/robustness/index.js';
import { twoTopics, twoTopicScenario } from '../robustness/two-topics.js';
import { epsim, small, workFolder, writeJson } from './epsim.js';

const folder = workFolder();
const trace = join(folder, 'two-topics.parquet');
writeFileSync(trace, twoTopics());
const topics = writeJson(folder, 'topics.json', twoTopicScenario('two-topics.parquet'));
const drift = writeJson(folder, 'drift.json', {
  ...small,
  workload: { ...small.workload, steps: 16, routing: { kind: 'domains', domains: 4, period: 4, sigma: 1 } },
  policies: ['ep', { kind: 'eplb', history: { kind: 'window', steps: 3, interval: 3 } }, 'llep'],
});

function stress(...args: string[]): StressReport {
  const { status, stdout, stderr } = epsim(['stress', ...args, '--format', 'json']);
  expect([status, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as StressReport;
}

describe('epsim stress, two topics with disjoint hot experts', () => {
  const map = join(folder, 'robust.json');
  const robustly = ['--segments', 'domains', '--mix', 'recorded', '--plan', 'eplb:slots=20'];
  const report = stress(topics, ...robustly, '--map', map);
  const { plan, segments } = report;

  it('weighs the topics as they were recorded', () => {
    expect(segments.list.map(({ name }) => name)).toEqual(['frequent', 'rare']);
    expect(segments.list[1].weight).toBeCloseTo(10 / 64, 12);
    expect(report.radii.at(-1)).toBeCloseTo(Math.log(6.4), 12);
  });

  it('cuts the time of the rare topic, and the mean rises by a few percent at most', () => {
    const [mean, robust] = [plan!.mean.heldOut.time, plan!.robust.heldOut.time];
    expect(mean.worst.segment).toBe('rare');
    expect(plan!.kept).toBeGreaterThan(0);
    expect(robust.worst.cost).toBeLessThan(0.95 * mean.worst.cost);
    expect(robust.mean).toBeLessThan(1.04 * mean.mean);
  });

  it('plans on other tokens than it scores', () => {
    expect(plan!.mean.planning.bySegment).not.toEqual(plan!.mean.heldOut.time.bySegment);
    for (const { planningSteps, scoringSteps } of segments.list) {
      expect(planningSteps).toBeGreaterThan(0);
      expect(scoringSteps).toBeGreaterThan(0);
    }
  });

  it('writes a map that a scenario loads', () => {
    const placement = { kind: 'file', path: map };
    const { status, stdout } = epsim([
      'run',
      topics,
      '--policy',
      JSON.stringify({ kind: 'combination', placement, dispatch: 'even' }),
      '--format',
      'json',
    ]);
    expect(status).toBe(0);
    const [{ peakMemory }] = (JSON.parse(stdout) as Result).policies;
    expect(peakMemory.byCategory.replicas).toBeGreaterThan(0);
    expect(readFileSync(map, 'utf8')).toContain('physical_to_logical_map');
  });

  it('says so in a sentence, with the worst weights', () => {
    const { stdout } = epsim(['stress', topics, ...robustly]);
    expect(stdout).toMatch(/robust placement's worst segment costs [\d.]+ % lower/);
    expect(stdout).toMatch(/ ep: rare [\d.]+ % \(15.6 %\), frequent [\d.]+ % \(84.4 %\)/);
  });
});

describe('epsim stress, windows of drift', () => {
  const report = stress(drift, '--segments', 'windows:4', '--radius', '0,0.1,0.5,1');

  it('the curve goes from the mean to the worst segment', () => {
    const check = ({ mean, worst, bySegment, curve }: RobustCost) => {
      expect(mean).toBeCloseTo(bySegment.reduce((sum, cost) => sum + cost, 0) / 4, 12);
      expect(curve[0].cost).toBeCloseTo(mean, 12);
      expect(curve.at(-1)).toMatchObject({ radius: Math.log(4), cost: Math.max(...bySegment) });
      expect(worst.cost).toBe(Math.max(...bySegment));
      curve.forEach(({ radius, weights, divergence, cost }, i) => {
        expect(cost).toBeGreaterThanOrEqual((curve[i - 1]?.cost ?? 0) * (1 - 1e-12));
        expect(divergence).toBeLessThan(radius + 1e-6);
        const value = weights.reduce((sum, weight, segment) => sum + weight * bySegment[segment], 0);
        expect(value / cost).toBeCloseTo(1, 9);
      });
    };
    expect(report.policies.map(({ policy }) => policy.kind)).toEqual(['ep', 'eplb', 'llep', 'balanced']);
    for (const { time, memory } of report.policies) [time, memory].forEach(check);
    expect(report.plan!.rounds).toHaveLength(9);
    expect(report.plan!.rounds[report.plan!.kept]).toBe(Math.min(...report.plan!.rounds));
  });

  it('a segment costs what a run of its steps costs', () => {
    // A window is four steps: the first two plan, the second two are scored.
    const run = (steps: number) =>
      (
        JSON.parse(
          epsim(['run', drift, '--policy', 'ep', '--set', `workload.steps=${steps}`, '--format', 'json'])
            .stdout,
        ) as Result
      ).policies[0].stepLatency.mean * steps;
    expect(report.policies[0].time.bySegment[0]).toBeCloseTo((run(4) - run(2)) / 2, 12);
    expect(report.policies[0].time.bySegment[1]).toBeCloseTo((run(8) - run(6)) / 2, 12);
  });

  it('policies with a history fill it from all segments in turn', () => {
    expect(report.warmupSteps).toBeGreaterThan(0);
  });

  it('gives the same bytes again', () => {
    expect(stress(drift, '--segments', 'windows:4', '--radius', '0,0.1,0.5,1')).toEqual(report);
  });
});

describe('scenarios/systems/stress-domains.json', () => {
  it('the placement against the worst of eight domains is better there than the mean placement', () => {
    const { plan, segments } = stress('scenarios/systems/stress-domains.json', '--policy', 'ep');
    expect(segments.list).toHaveLength(8);
    const [mean, robust] = [plan!.mean.heldOut.time, plan!.robust.heldOut.time];
    expect(robust.worst.cost).toBeLessThan(0.98 * mean.worst.cost);
    expect(robust.mean).toBeLessThan(1.03 * mean.mean);
  });
});

describe('epsim stress, other cuts', () => {
  it('takes traces as segments', () => {
    const { segments, plan } = stress(topics, '--segments', `traces:${trace},${trace}`, '--no-plan');
    expect(segments.list.map(({ weight }) => weight)).toEqual([0.5, 0.5]);
    expect(plan).toBeNull();
  });

  it('takes windows of sequences', () => {
    const { segments } = stress(topics, '--segments', 'windows:3', '--no-plan');
    expect(segments.list.map(({ name }) => name)).toEqual(['window 1', 'window 2', 'window 3']);
  });
});

describe('epsim stress refuses', () => {
  it.each([
    [
      [topics, '--segments', 'windows:1'],
      "--segments: found 'windows:1', allowed: domains, windows:<n> with n ≥ 2",
    ],
    [[topics, '--segments', 'traces:a'], "--segments: found 'traces:a', allowed: "],
    [
      [drift, '--segments', 'domains'],
      'workload.routing: found no sequences with domains, allowed: a recording',
    ],
    [[drift, '--segments', 'windows:9'], 'two steps or more in a segment'],
    [
      [topics, '--segments', 'windows:64'],
      'segment window 1: found so few sequences: 1, allowed: two or more',
    ],
    [
      [topics, '--segments', 'domains', '--set', 'workload.tokensPerGpu=1024'],
      'found 1 of 2 domains with enough',
    ],
    [[topics, '--radius', '0.1,x'], "--radius: found 'x', allowed: a number ≥ 0"],
    [[topics, '--plan', 'llep'], "--plan: found 'llep', allowed: eplb with history calibration"],
    [[topics, '--no-plan', '--map', 'map.json'], '--map: found --no-plan beside it'],
    [[topics, '--segments', 'domains', '--plan', 'eplb:slots=17'], 'slots: found 17 on 4 GPUs'],
    [
      [drift, '--set', 'workload.phase=training', '--set', 'runtime=megatron-alltoall'],
      'workload.phase: found training, allowed: prefill or decode',
    ],
    [['none.json'], 'none.json: found no such file'],
  ])('%j', (args, message) => {
    const { status, stdout, stderr } = epsim(['stress', ...args]);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toContain(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });
});
