import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { run, type PolicyResult, type Result, type ScenarioInput } from '../../src/index.js';
import {
  comparisonTable,
  diffResults,
  formatBytes,
  formatFactor,
  formatSeconds,
  formatShare,
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

const when = (kind: string, values: Partial<PolicyResult>) => (p: PolicyResult) =>
  p.policy.kind === kind ? values : {};

describe('units', () => {
  it.each([
    [1.5, '1.50 s'],
    [0.0123, '12.30 ms'],
    [0.1234, '123.4 ms'],
    [4.2e-6, '4.20 µs'],
  ])('%d seconds are %s', (seconds, text) => expect(formatSeconds(seconds)).toBe(text));
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

  it('sets scenarios side by side', () => {
    const table = comparisonTable([result, { ...result, scenario: { name: 'other' } }]);
    expect(table).toContain('two GPUs, two experts');
    expect(table).toContain('255.0 ms  1.00×');
  });
});

describe('the sentence that says what to do', () => {
  it('stays with ep where nothing exact is faster', () => {
    expect(verdict(result)).toBe(
      'Stay with ep: no exact policy is faster beyond doubt (llep(minTokensPerGemm=1, imbalanceThreshold=0): 0.65× as ' +
        'fast, and it does not fit). Faster only at a loss above the allowed 0.0 %: capacity(factor=1) (10.0 % of the copies).',
    );
  });

  it('names the faster exact policy, what it saves and how sure it is', () => {
    const faster = changed(
      when('llep', {
        speedup: { mean: 2, low: 1.8, high: 2.2 },
        oom: null,
        stepLatency: { ...result.policies[0].stepLatency, mean: 0.1275 },
        peakMemory: { ...result.policies[1].peakMemory, max: 30_000 },
      }),
      { policy: 1, ties: [] },
    );
    expect(verdict(faster)).toMatch(
      /^Use llep\(.*\): 2\.00× as fast as ep \[1\.80×, 2\.20×\], 12\.11 KiB less peak memory on the fullest GPU, unchanged output\./,
    );
    expect(verdict({ ...faster, fastest: { policy: 1, ties: [0] } })).toContain(
      "these steps can't tell it from ep",
    );
  });

  it('takes an inexact policy only within the loss that is allowed', () => {
    expect(verdict({ ...result, allowedLoss: 0.1 })).toMatch(
      /^Use capacity\(factor=1\): 1\.10× as fast as ep.*10\.0 % of the copies dropped or quantised/,
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
