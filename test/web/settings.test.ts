import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { openScenario } from '../../src/run.js';
import {
  fromAddress,
  initialSettings,
  scenarioOf,
  simulateSettings,
  toAddress,
} from '../../src/web/index.js';
import { limitsOf } from '../../src/web/limits.js';
import { CHOICES, NUMBERS, POLICIES, SKEWS, type Skew } from '../../src/web/settings.js';
import { traceMisfit } from '../../src/web/trace-misfit.js';

const optionsOf = (key: string) => CHOICES.find((choice) => choice.key === key)!.options;

/** Addresses with any values within the limits. */
const addressArbitrary = fc
  .record({
    choices: fc.tuple(
      ...CHOICES.map(({ key, options }) =>
        fc.constantFrom(...options).map((name) => [key, name] as [string, string]),
      ),
    ),
    numbers: fc.tuple(
      ...NUMBERS.map(({ key, min, max }) =>
        fc.double({ min, max, noNaN: true }).map((value) => [key, String(value)] as [string, string]),
      ),
    ),
    policies: fc.subarray([...POLICIES]),
  })
  .map(({ choices, numbers, policies }) =>
    new URLSearchParams([...choices, ...numbers, ['policies', policies.join()]]).toString(),
  );

describe('the address of the playground', () => {
  it('is empty for the initial settings, and they come of an empty address', () => {
    expect(toAddress(initialSettings())).toBe('');
    expect(fromAddress('')).toEqual(initialSettings());
  });

  test.prop([addressArbitrary])('holds all that the settings say', (address) => {
    const settings = fromAddress(address);
    expect(fromAddress(`#${toAddress(settings)}`)).toEqual(settings);
  });

  test.prop([fc.string()])('of any text gives settings within their limits', (text) => {
    for (const address of [
      text,
      ...[...NUMBERS, ...CHOICES].map(({ key }) => `${key}=${encodeURIComponent(text)}`),
    ]) {
      const settings = fromAddress(address);
      for (const { key, min, max } of NUMBERS) {
        expect(settings[key]).toBeGreaterThanOrEqual(min);
        expect(settings[key]).toBeLessThanOrEqual(max);
      }
      for (const { key, options } of CHOICES) expect(options).toContain(settings[key]);
    }
  });
});

describe('limits', () => {
  it('of a number follow the other settings', () => {
    expect(fromAddress('model=mixtral-8x7b&replicas=8').replicas).toBe(4);
    expect(fromAddress('model=mixtral-8x7b&gpus=2&spare=8').spare).toBe(4);
    expect(fromAddress('model=gpt-oss-20b&replicas=8&spare=8')).toMatchObject({ replicas: 8, spare: 8 });
  });

  it('leave a number without meaning as it is at first', () => {
    expect(fromAddress('skew=balanced&amount=3').amount).toBe(initialSettings().amount);
  });
});

describe('a trace that does not go with the settings', () => {
  const header = {
    schema: 'epsim/trace@1',
    kind: 'tokens',
    model: 'any',
    experts: 32,
    topK: 4,
    layerIds: [0, 1],
    source: '',
    licence: '',
    notes: [],
  } as const;
  const settings = fromAddress('model=deepseek-v3&skew=trace&trace=a.parquet');
  const misfit = (changed: object, own = settings) =>
    traceMisfit({ ...header, layerIds: [...header.layerIds], notes: [], ...changed }, own);

  it('is told by the models that it could be of', () => {
    expect(misfit({})).toMatch(/4 of 32 experts .* unlike deepseek-v3.*Choose gpt-oss-20b as model/);
    expect(misfit({}, { ...settings, model: 'gpt-oss-20b' })).toBeNull();
  });

  it('is told where no model fits, and where it holds counts', () => {
    expect(misfit({ experts: 33 })).toContain('No model of this page');
    expect(misfit({ kind: 'counts' }, { ...settings, model: 'gpt-oss-20b' })).toContain('holds the counts');
  });
});

describe('the scenario of the playground', () => {
  it.each(optionsOf('model'))(
    'of %s runs in every precision, at the least and the most of every number',
    (model) => {
      for (const weights of optionsOf('weights')) {
        for (const gpus of [2, 8, 64]) {
          const settings = fromAddress(
            `model=${model}&weights=${weights}&gpus=${gpus}&tokens=4&steps=1&policies=${POLICIES.join()}`,
          );
          for (const end of ['min', 'max'] as const) {
            const ends = NUMBERS.filter(({ most }) => most !== undefined).map((number) => [
              number.key,
              limitsOf(number, settings)![end],
            ]);
            const { result } = simulateSettings(
              { ...settings, ...(Object.fromEntries(ends) as object) },
              null,
              '',
            );
            expect(result.policies).toHaveLength(POLICIES.length + 2);
          }
        }
      }
    },
  );

  it.each([
    ['model=gpt-oss-20b', 8],
    ['model=deepseek-v3&weights=fp8', 4],
    ['model=gpt-oss-20b&weights=as shipped', 2],
  ])('of %s has replicas of %i bits, half of those of the weights', (address, bits) => {
    const { policies } = scenarioOf(fromAddress(address));
    expect(policies).toContainEqual({ kind: 'replicate-quantize', replicas: 1, bits });
  });

  it.each(Object.keys(SKEWS).filter((skew) => skew !== 'trace'))(
    'of skew %s is one that the command line takes',
    async (skew) => {
      for (const share of [0, 0.5, 1]) {
        const own = SKEWS[skew as Skew];
        const amount = own === null ? 0 : own.min + share * (own.max - own.min);
        const settings = fromAddress(`skew=${skew}&amount=${amount}&policies=${POLICIES.join()}`);
        const { scenario } = await openScenario(scenarioOf(settings));
        expect(scenario.workload.routing.kind).toBe(skew);
      }
    },
  );

  it('runs: more skew, more to gain by llep', () => {
    const speedup = (share: number) => {
      const settings = fromAddress(`amount=${share}&steps=1&tokens=256&policies=llep&m=1`);
      return simulateSettings(settings, null, '').result.policies[1].speedup.mean;
    };
    expect(speedup(0.9)).toBeGreaterThan(1.2 * speedup(0.3));
  });
});
