import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import {
  expertStageSeconds,
  profileSchema,
  shippedProfiles,
  type Profile,
} from '../../src/hardware/index.js';

/** Round numbers, so that times can be worked out by hand. */
const plain: Profile = profileSchema.parse({
  schema: 'epsim/profile@1',
  name: 'plain',
  gpu: 'plain',
  status: 'first-guess',
  sources: ['made up'],
  expertStages: [
    {
      layout: 'fused',
      computeDtype: 'bf16',
      weightDtypes: ['bf16'],
      activationDtypes: ['bf16'],
      launchSeconds: 10,
      perActiveExpertSeconds: 1,
      rowRounding: 4,
      flopPerSecond: 600,
      weightBytesPerSecond: 60,
      softMaxExponent: 2,
      activationBytesPerSecond: 160,
    },
  ],
  copyBytesPerSecond: 1,
  gatherBytesPerSecond: 1,
  nvlink: { bytesPerSecond: 1, latencySeconds: 0 },
  nic: { bytesPerSecond: 1, latencySeconds: 0 },
  hostLink: { bytesPerSecond: 1, latencySeconds: 0 },
  kernelLaunchSeconds: 0,
  hostSyncSeconds: 0,
});

const shape = { hiddenSize: 10, expertHiddenSize: 10, weightDtype: 'bf16' as const };

describe('expertStageSeconds', () => {
  it('adds launch, active experts, the soft maximum of FLOP and weight bytes, and activations', () => {
    // Two active experts with 5 and 3 rows: 8 + 4 rounded rows of 600 FLOP take 12 s, 2 × 600 weight bytes
    // take 20 s, their 2-norm is √544; 8 rows move 80 elements of 2 bytes each: 8 s.
    expect(expertStageSeconds(plain, shape, [5, 0, 3])).toBeCloseTo(
      10 + 2 + Math.sqrt(12 ** 2 + 20 ** 2) + 8,
      10,
    );
  });

  it('costs nothing without copies', () => {
    expect(expertStageSeconds(plain, shape, [0, 0])).toBe(0);
  });

  it.each(shippedProfiles.map((profile) => [profile.name, profile] as const))(
    '%s is subadditive: two halves never take less than the whole',
    (_, profile) => {
      fc.assert(
        fc.property(
          fc.array(fc.tuple(fc.nat(3000), fc.nat(3000)), { minLength: 1, maxLength: 8 }),
          fc.constantFrom('fused' as const, 'loop' as const),
          (slots, layout) => {
            const real = { hiddenSize: 2880, expertHiddenSize: 2880, weightDtype: 'bf16' as const };
            const part = (i: 0 | 1) =>
              expertStageSeconds(
                profile,
                real,
                slots.map((slot) => slot[i]),
                layout,
              );
            const whole = expertStageSeconds(
              profile,
              real,
              slots.map(([a, b]) => a + b),
              layout,
            );
            expect(whole).toBeLessThanOrEqual((part(0) + part(1)) * (1 + 1e-12));
          },
        ),
        { numRuns: 200 },
      );
    },
  );

  test.prop([fc.array(fc.nat(5000), { minLength: 1, maxLength: 8 }), fc.nat(7), fc.nat(5000)])(
    'never falls when a slot gets more copies',
    (copies, slot, more) => {
      const grown = copies.map((count, i) => (i === slot % copies.length ? count + more : count));
      const real = {
        hiddenSize: 7168,
        expertHiddenSize: 2048,
        weightDtype: 'fp8' as const,
        activationDtype: 'fp8' as const,
      };
      expect(expertStageSeconds('h200', real, grown)).toBeGreaterThanOrEqual(
        expertStageSeconds('h200', real, copies),
      );
    },
  );

  it('says what to measure where the profile has no such kernel', () => {
    expect(() => expertStageSeconds('h200', { ...shape, weightDtype: 'fp32' }, [1])).toThrow(
      /no expert stage for layout fused, weights fp32.*measure that kernel/,
    );
    expect(() => expertStageSeconds('h300', shape, [1])).toThrow(
      /no profile named h300; shipped: a100-nominal/,
    );
  });

  it('refuses counts that are none', () => {
    expect(() => expertStageSeconds(plain, shape, [1.5])).toThrow('copiesPerSlot[0]: found 1.5');
  });

  it('refuses a profile whose form is not subadditive', () => {
    const concave = structuredClone(plain);
    concave.expertStages[0].softMaxExponent = 0.5;
    expect(profileSchema.safeParse(concave).success).toBe(false);
    const negative = structuredClone(plain);
    negative.expertStages[0].launchSeconds = -1;
    expect(profileSchema.safeParse(negative).success).toBe(false);
  });
});
