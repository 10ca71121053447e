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
import { CHOICES, NUMBERS, POLICIES, SKEWS, type Skew } from '../../src/web/settings.js';

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

describe('the scenario of the playground', () => {
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
