import { describe, expect, it } from 'vitest';
import {
  fitProfile,
  isMet,
  llepPaperGates,
  MeasurementError,
  memoryGates,
  type CollectiveRow,
  type Measurements,
  type Timed,
} from '../../src/calibration/index.js';
import { expertStageSeconds, findProfile } from '../../src/hardware/index.js';

const base = findProfile('h100');

function measurements(rows: Measurements['rows'], kind: 'gpu' | 'software' = 'gpu'): Measurements {
  return {
    schema: 'epsim/measurements@1',
    source: { name: 'made up', version: '1', licence: 'own' },
    device: { name: 'NVIDIA H100', kind },
    software: {},
    rows,
  };
}

const timing = { kernel: 'k', spread: null, repeats: 1 };

/** All-to-all rows of a link that takes 10 µs + 2 ns √b + b / 300 GB/s. */
function linkRows(): CollectiveRow[] {
  return [2, 4, 8].flatMap((gpus) =>
    Array.from({ length: 10 }, (_, i) => {
      const bytes = 2 ** (20 + i);
      const crossing = (bytes * (gpus - 1)) / gpus;
      return {
        ...timing,
        op: 'collective' as const,
        collective: 'all-to-all' as const,
        gpus,
        gpusPerNode: 8,
        bytes,
        seconds: 10e-6 + 2e-9 * Math.sqrt(crossing) + crossing / 300e9,
      };
    }),
  );
}

/** Expert stages worked out by hand: 20 µs, 1 µs per active expert, the larger of 500 TFLOP/s and 2.5 TB/s. */
function stageRows(): Timed[] {
  return [2048, 4096, 7168].flatMap((hiddenSize) =>
    [1, 128, 512, 2048, 8192].flatMap((rows) =>
      [1, 4, 16].map((active) => {
        const counts = Array.from({ length: 16 }, (_, e) => (e < active ? rows : 0));
        const product = (6 * hiddenSize * 2048 * active * Math.ceil(rows / 128) * 128) / 500e12;
        const weights = (active * 3 * hiddenSize * 2048 * 2) / 2.5e12;
        return {
          ...timing,
          seconds: 20e-6 + active * 1e-6 + Math.max(product, weights),
          case: {
            op: 'expert-stage' as const,
            layout: 'fused' as const,
            hiddenSize,
            expertHiddenSize: 2048,
            weightDtype: 'bf16' as const,
            activationDtype: 'bf16' as const,
            counts,
            routing: active === 16 ? 'balanced' : 'few-active',
          },
        };
      }),
    ),
  );
}

describe('fitProfile', () => {
  it('recovers a link from its rows, with next to no error on sizes of groups left out', () => {
    const { nvlink } = fitProfile([{ file: 'm.json', measurements: measurements(linkRows()) }], base, 'mine');
    expect(nvlink.bytesPerSecond / 300e9).toBeCloseTo(1, 2);
    expect(nvlink.latencySeconds / 10e-6).toBeCloseTo(1, 1);
    expect(nvlink.rampSecondsPerRootByte / 2e-9).toBeCloseTo(1, 1);
    expect(nvlink.accuracy!.mape).toBeLessThan(0.01);
  });

  it('predicts expert stages of a known law, on shapes between those that it saw', () => {
    const profile = fitProfile([{ file: 'm.json', measurements: measurements(stageRows()) }], base, 'mine');
    expect(profile.status).toBe('fitted');
    const stage = profile.expertStages[0];
    expect(stage.accuracy!.mape).toBeLessThan(0.05);
    const seconds = expertStageSeconds(
      { ...profile, expertStages: [stage] },
      { hiddenSize: 3072, expertHiddenSize: 2048, weightDtype: 'bf16' },
      [1024, 1024],
    );
    expect(seconds / (20e-6 + 2e-6 + (6 * 3072 * 2048 * 2048) / 500e12)).toBeCloseTo(1, 1);
  });

  it('looks shapes up that were measured at many sizes: their own times, and neighbours between them', () => {
    // 30 % slower than the law at 512 rows per expert, by a kernel that is bad at that size.
    const rows = [1, 64, 128, 256, 512, 1024, 2048, 4096].flatMap((perExpert) => {
      const [like] = stageRows();
      const counts = Array.from({ length: 8 }, () => perExpert);
      const lawful = 30e-6 + (6 * 2048 * 2048 * 8 * Math.ceil(perExpert / 128) * 128) / 500e12;
      const seconds = perExpert === 512 ? 1.3 * lawful : lawful;
      return { ...like, seconds, case: { ...like.case, counts, routing: 'balanced' } as Timed['case'] };
    });
    const own = [{ file: 'm.json', measurements: measurements([...stageRows(), ...rows]) }];
    const shape = { hiddenSize: 2048, expertHiddenSize: 2048, weightDtype: 'bf16' as const };
    const secondsBy = (profile: ReturnType<typeof fitProfile>, perExpert: number) =>
      expertStageSeconds(
        { ...profile, expertStages: profile.expertStages.slice(0, 1) },
        shape,
        new Array<number>(8).fill(perExpert),
      );
    const looked = fitProfile(own, base, 'mine');
    const formOnly = fitProfile(own, base, 'mine', { lookups: false });
    expect(formOnly.expertStages[0].lookups).toEqual([]);
    expect(looked.expertStages[0].lookups.map(({ slots }) => slots)).toEqual([8]);
    for (const { seconds, case: timed } of rows) {
      if (timed.op !== 'expert-stage') continue;
      expect(secondsBy(looked, timed.counts[0])).toBeCloseTo(seconds, 12);
    }
    // Between two sizes the factor lies between theirs, beyond the last it stays.
    const factor = (perExpert: number) => secondsBy(looked, perExpert) / secondsBy(formOnly, perExpert);
    expect(factor(700)).toBeLessThan(factor(512));
    expect(factor(700)).toBeGreaterThan(factor(1024));
    expect(factor(9999)).toBeCloseTo(factor(4096), 12);
  });

  it('fits copies, gathers, the link to the host, launches and reads', () => {
    const timed = (op: object, seconds: number) => ({ ...timing, seconds, case: op as Timed['case'] });
    const sizes = [2 ** 20, 2 ** 24, 2 ** 28];
    const rows = [
      ...sizes.map((bytes) =>
        timed({ op: 'copy', direction: 'device-to-device', bytes }, 4e-6 + (2 * bytes) / 2.8e12),
      ),
      ...sizes.map((bytes) => timed({ op: 'copy', direction: 'host-to-device', bytes }, 9e-6 + bytes / 50e9)),
      ...[64, 1024, 16384].map((tokens) =>
        timed(
          { op: 'permute', tokens, topK: 4, hiddenSize: 2048, dtype: 'bf16' },
          5e-6 + (2 * tokens * 4 * 2048 * 2) / 1.5e12,
        ),
      ),
      ...[5e-6, 6e-6, 9e-6].map((seconds) => timed({ op: 'launch' }, seconds)),
      timed({ op: 'host-sync' }, 12e-6),
    ];
    const profile = fitProfile([{ file: 'm.json', measurements: measurements(rows) }], base, 'mine');
    expect(profile.copyBytesPerSecond / 2.8e12).toBeCloseTo(1, 3);
    expect(profile.gatherBytesPerSecond / 1.5e12).toBeCloseTo(1, 3);
    expect(profile.hostLink.bytesPerSecond / 50e9).toBeCloseTo(1, 3);
    expect(profile.hostLink.latencySeconds).toBeCloseTo(9e-6, 7);
    expect(profile.kernelLaunchSeconds).toBe(6e-6);
    expect(profile.hostSyncSeconds).toBe(12e-6);
    expect(profile.copyAccuracy!.mape).toBeLessThan(0.05);
    // The experts are still the base's: a profile is as good as its kernels.
    expect(profile.status).toBe(base.status);
  });

  it('takes how unequal work errs from another GPU where only balanced rows were timed', () => {
    const own = [{ file: 'm.json', measurements: measurements(stageRows()) }];
    const teacher = findProfile('h200');
    const like = teacher.expertStages.find(({ stack, layout }) => stack === 'pytorch' && layout === 'fused')!;
    expect(fitProfile(own, base, 'mine').expertStages[0].accuracy!.skewRange).toBeNull();
    const taught = fitProfile(own, base, 'mine', { skewFrom: teacher }).expertStages[0];
    expect(taught.accuracy!.skewRange).toEqual(like.accuracy!.skewRange);
  });

  it('marks what was timed without a GPU', () => {
    const software = measurements(stageRows(), 'software');
    expect(fitProfile([{ file: 'm.json', measurements: software }], base, 'mine').status).toBe('software');
  });

  it('refuses measurements that are too few for any fit', () => {
    const few = measurements(linkRows().slice(0, 3));
    expect(() => fitProfile([{ file: 'm.json', measurements: few }], base, 'mine')).toThrow(MeasurementError);
  });
});

describe('validation against the LLEP paper', () => {
  it.each(
    [...llepPaperGates(), ...memoryGates()].map((gate) => [`${gate.name}, ${gate.measure}`, gate] as const),
  )('%s', (_, gate) => {
    expect(gate.points).toBeGreaterThan(0);
    expect(isMet(gate), `${gate.error} ${gate.unit}, allowed ${gate.allowed}`).toBe(true);
  });
});
