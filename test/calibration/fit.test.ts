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
            routing: 'balanced',
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
