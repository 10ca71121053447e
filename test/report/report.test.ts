import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { beforeAll, describe, expect, it } from 'vitest';
import { run, type PolicyResult, type Result, type ScenarioInput } from '../../src/index.js';
import {
  comparison,
  diffResults,
  formatBytes,
  formatFactor,
  formatSeconds,
  formatSecondsRange,
  formatShare,
  resultCsv,
  resultTable,
  verdict,
} from '../../src/report/index.js';

const file = fileURLToPath(new URL('../golden/hand-scenario.json', import.meta.url));
let result: Result;

beforeAll(async () => {
  result = await run(JSON.parse(readFileSync(file, 'utf8')) as ScenarioInput, { file });
});

/** The result with some of its policies changed. */
function changed(change: (policy: PolicyResult) => Partial<PolicyResult>, fastest = result.fastest): Result {
  return {
    ...result,
    fastest,
    policies: result.policies.map((policy) => ({ ...policy, ...change(policy) })),
  };
}

/** Rows of CSV without line breaks inside fields. */
const parse = (csv: string): string[][] =>
  csv
    .trim()
    .split('\n')
    .map((line) =>
      [...line.matchAll(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g)].map(([, field]) => field.replace(/^"|"$/g, '')),
    );

const when = (kind: string, values: Partial<PolicyResult>) => (p: PolicyResult) =>
  p.policy.kind === kind ? values : {};

describe('units', () => {
  it.each([
    [1.5, '1.50 s'],
    [0.0123, '12.30 ms'],
    [0.1234, '123.4 ms'],
    [4.2e-6, '4.20 µs'],
  ])('%d seconds are %s', (seconds, text) => expect(formatSeconds(seconds)).toBe(text));
  it('a range of seconds is in one unit', () => {
    expect(formatSecondsRange(0.0123, 0.0009, 1.5)).toBe('12.30 [0.90, 1500] ms');
    expect(formatSecondsRange(0.0123, 0.0123, 0.0123)).toBe('12.30 ms');
  });
  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1536, '1.50 KiB'],
    [61.4 * 2 ** 30, '61.40 GiB'],
  ])('%d bytes are %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));
  it('factors and shares', () => {
    expect([formatFactor(1.9297), formatFactor(12.345), formatFactor(708)]).toEqual([
      '1.93×',
      '12.35×',
      '708.0×',
    ]);
    expect([formatShare(0.9402), formatShare(0), formatShare(0.0004)]).toEqual([
      '94.0 %',
      '0.0 %',
      '0.040 %',
    ]);
  });
});

describe('the table', () => {
  it('is this, for the scenario worked out by hand', () => {
    expect(resultTable(result)).toBe(
      readFileSync(new URL('../golden/hand-table.txt', import.meta.url), 'utf8').trimEnd(),
    );
  });

  it('shows p99 or max by the steps of ep, whatever the order of policies', () => {
    const many = changed((p) =>
      p.policy.kind === 'ep' ? { stepLatency: { ...p.stepLatency, effectiveSteps: 300 } } : {},
    );
    for (const policies of [many.policies, [...many.policies].reverse()]) {
      expect(resultTable({ ...many, policies })).toMatch(/ step \[90 %\] +p99 /);
    }
    expect(resultTable({ ...result, policies: [...result.policies].reverse() })).toMatch(
      / step \[90 %\] +max /,
    );
  });

  it('says whether the experts of all layers would fit', () => {
    const capacity = 1_500_000_000 + 10 * 60_000;
    const layers = (moeLayers: number) =>
      resultTable({
        ...changed((p) => ({
          peakMemory: {
            ...p.peakMemory,
            capacity,
            byCategory: { ...p.peakMemory.byCategory, weights: 50_000, replicas: 10_000 },
          },
        })),
        moeLayers,
      });
    expect(layers(10)).toContain(
      'All 10 MoE layers: their resident experts, up to 585.9 KiB per GPU, would fit its 1.40 GiB,',
    );
    expect(layers(11)).toContain('up to 644.5 KiB per GPU, would not fit its 1.40 GiB');
    expect(layers(1)).not.toContain('All 1 MoE');
  });

  it('says what the intervals hold, and what of ep hangs on what', () => {
    const lines = (routing: Partial<Result['routing']>) =>
      resultTable({ ...result, routing: { ...result.routing, ...routing } });
    expect(lines({})).toContain('Intervals hold 90 %: errors of the clock; the 2 steps do not vary.');
    // Experts are 0.243 of 0.255 s, which 0.8 and 4 times as long makes 0.81 and 3.86 times; the rest is network.
    expect(lines({})).toContain(
      'Factors on the step of ep, each alone: experts 0.81 to 3.86 (assumed), network 0.98 to 1.02 (assumed), ' +
        'skewed traffic 1.00 to 1.00 (unvalidated).',
    );
    const paired = '90 %: errors of the clock, and paired log-ratio over effective steps';
    expect(lines({ interval: paired, varies: true })).toContain(
      `Intervals hold ${paired}; 2 effective steps.`,
    );
  });
});

describe('several results side by side', () => {
  const other = () => ({
    ...changed((p) =>
      p.policy.kind === 'ep'
        ? { anchor: true }
        : p.policy.kind === 'capacity'
          ? { speedup: { mean: 1.1, low: 1.05, high: 1.15, sampling: null } }
          : {},
    ),
    scenario: { name: 'other' },
    profile: { name: 'mine', status: 'fitted' },
    routing: { ...result.routing, notes: ['the recording is a decode, the scenario a prefill'] },
  });

  it('keep what a reader must know of each', () => {
    const text = comparison([result, other()]);
    for (const part of [
      'profile hand (first-guess)',
      'profile mine (fitted)',
      '* profile hand: kernel and link times are first guesses, not measured',
      '* the recording is a decode, the scenario a prefill',
      'Intervals hold 90 %: errors of the clock; the 2 steps do not vary.',
      'two GPUs, two experts: Stay with ep',
      'other: Stay with ep',
    ]) {
      expect(text).toContain(part);
    }
  });

  it('show interval, memory, γ, exactness, anchors, and dropped apart from quantised', () => {
    const text = comparison([result, other()]);
    expect(text).toMatch(
      /│ capacity\(factor=1\) \(inexact\) +│ 231\.0 \[186\.7, 894\.2\] ms {2}1\.10× \[0\.98, 1\.48\] +│ 231\.0 \[186\.7, 894\.2\] ms {2}1\.10× \[1\.05, 1\.15\]/,
    );
    expect(text).toMatch(/│ 10\.0 % dropped +│ 10\.0 % dropped +│/);
    expect(text).toMatch(/│ 70\.0 % quantised +│ 70\.0 % quantised +│/);
    expect(text).toMatch(/│ 69\.34 KiB does not fit \(1 layer\)/);
    expect(text).toContain('γ 1.20 → 1.40');
    expect(text).toMatch(/│ balanced \(anchor\) /);
    // Listed in one scenario, run for comparison in the other.
    expect(text).toMatch(/│ ep +│ 255\.0 \[.*\] ms {2}1\.00× +│ 255\.0 \[.*\] ms {2}1\.00× \(anchor\)/);
  });

  it('are rows of CSV with profile, notes and losses of their own', () => {
    const [head, ...rows] = parse(resultCsv([result, other()]));
    const column = (name: string) => rows.map((row) => row[head.indexOf(name)]);
    expect(new Set(column('profile_status'))).toEqual(new Set(['first-guess', 'fitted']));
    expect(column('notes')[0]).toBe(result.routing.notes.join(' | '));
    const at = column('policy').indexOf('replicate-quantize(split=even)');
    expect([column('dropped_share')[at], column('quantised_share')[at]]).toEqual(['0', '0.7']);
  });
});

/** Steps that scatter little. */
const sampling = { low: 1, high: 1.1 };

describe('the sentence that says what to do', () => {
  it('stays with ep where nothing exact is faster', () => {
    expect(verdict(result)).toBe(
      'Stay with ep: no exact policy is faster beyond doubt (llep(minTokensPerGemm=1, imbalanceThreshold=0): 0.65× as ' +
        'fast [0.54×, 0.98×], and it does not fit).',
    );
  });

  it('names the faster exact policy, what it saves and how sure it is', () => {
    const faster = changed(
      when('llep', {
        speedup: { mean: 2, low: 1.8, high: 2.2, sampling: null },
        oom: null,
        stepLatency: { ...result.policies[0].stepLatency, mean: 0.1275 },
        peakMemory: { ...result.policies[1].peakMemory, max: 30_000 },
      }),
      { policy: 1, ties: [] },
    );
    expect(verdict(faster)).toMatch(
      /^Use llep\(.*\): 2\.00× as fast as ep \[1\.80×, 2\.20×\], 12\.11 KiB less peak memory on the fullest GPU, unchanged output\./,
    );
    expect(verdict({ ...faster, fastest: { policy: 1, ties: [0] } })).toContain("it can't be told from ep");
    const risky = changed(
      when('llep', {
        ...faster.policies[1],
        peakMemory: { ...faster.policies[1].peakMemory, verdict: 'at risk' },
      }),
      { policy: 1, ties: [] },
    );
    expect(verdict(risky)).toContain(
      'peak memory on the fullest GPU at risk (1.40 GiB of 1.40 GiB, before what a caching allocator fragments), unchanged',
    );
    const stay = changed(
      when('ep', { peakMemory: { ...result.policies[0].peakMemory, verdict: 'at risk' } }),
    );
    expect(verdict(stay)).toContain('; the memory of ep is at risk (1.40 GiB of');
  });

  it('takes an inexact policy only within the loss that is allowed', () => {
    const sure = changed(when('capacity', { speedup: { mean: 1.1, low: 1.08, high: 1.12, sampling } }));
    expect(verdict(sure)).toContain(
      'Faster only at a loss above the allowed 0.0 %: capacity(factor=1) (10.0 % of the copies).',
    );
    expect(verdict({ ...sure, allowedLoss: 0.1 })).toMatch(
      /^Use capacity\(factor=1\): 1\.10× as fast as ep.*10\.0 % of the copies dropped or quantised/,
    );
  });

  it.each([
    ['within noise of ep', { mean: 1.1, low: 0.99, high: 1.2, sampling }, false],
    ['faster, but by less than is worth a loss', { mean: 1.03, low: 1.019, high: 1.04, sampling }, false],
    ['faster by what is worth a loss', { mean: 1.03, low: 1.021, high: 1.04, sampling }, true],
  ])('an inexact policy that is %s', (_, speedup, used) => {
    const sentence = verdict({ ...changed(when('capacity', { speedup })), allowedLoss: 0.1 });
    expect(sentence.startsWith(used ? 'Use capacity' : 'Stay with ep')).toBe(true);
    // Nor is it named as faster where the loss is not allowed.
    expect(verdict(changed(when('capacity', { speedup }))).includes('Faster only at a loss')).toBe(used);
  });

  it('an inexact policy must beat the best exact choice, not only ep', () => {
    const llep = { oom: null, speedup: { mean: 1.2, low: 1.15, high: 1.25, sampling } };
    const stepLatency = { ...result.policies[1].stepLatency, mean: 0.2125 };
    const use = (low: number) =>
      verdict({
        ...changed(
          (p) =>
            p.policy.kind === 'llep'
              ? { ...llep, stepLatency }
              : p.policy.kind === 'capacity'
                ? { speedup: { mean: 1.3, low, high: 1.5, sampling } }
                : {},
          { policy: 1, ties: [] },
        ),
        allowedLoss: 0.1,
      });
    expect(use(1.22)).toMatch(/^Use llep/);
    expect(use(1.23)).toMatch(/^Use capacity/);
  });

  it('says that one step, or few, tell nothing of others', () => {
    const unsampled = (steps: number) => ({
      ...changed(({ speedup }) => ({ speedup: { ...speedup, sampling: null } })),
      routing: { ...result.routing, steps },
    });
    expect(verdict(unsampled(1))).toMatch(/ One step says nothing of others: run more to be sure\./);
    expect(verdict(unsampled(2))).toMatch(
      / 2 steps are too few to say how others would lie: run more to be sure\./,
    );
  });

  it('says so when ep does not fit, and when nothing does', () => {
    const oom = { step: 0, layer: 0, gpu: 0, needed: 2, limit: 1, category: 'weights' as const };
    const noEp = changed((p) => (p.policy.kind === 'ep' ? { oom } : { oom: null }), { policy: 1, ties: [] });
    expect(verdict(noEp)).toMatch(/^Use llep.*and ep does not fit \(it needs 41\.41 KiB\)/);
    const nothing = changed((p) => (p.exact ? { oom } : {}), null);
    expect(verdict(nothing)).toMatch(/^No exact policy fits: /);
  });
});

describe('diff', () => {
  it('says what changed in the scenario and in the results', () => {
    const after = {
      ...result,
      inputs: 'other',
      scenario: { ...result.scenario, seed: 2 } as Result['scenario'],
    };
    expect(diffResults(result, after)).toContain('seed: 1 → 2');
    expect(diffResults(result, result)).toMatch(/^Same inputs\.\n/);
  });
});
