import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { planLayer, type PolicyInput } from '../../src/balancing/index.js';

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

/** Copies by expert, spread evenly over the sources as far as they divide. */
function countsOf(loads: readonly number[], gpus: number): number[][] {
  return Array.from({ length: gpus }, (_, source) => loads.map((load) => Math.floor((load + source) / gpus)));
}

const plan = (policy: PolicyInput, loads: readonly number[], gpus: number, gpusPerNode = gpus) =>
  planLayer(policy, { gpus, gpusPerNode, experts: loads.length, counts: countsOf(loads, gpus) });

describe('UltraEP', () => {
  it('meets the first target by hand: 1 % above the mean, from the hot GPU to the emptiest', () => {
    // GPU loads 1000, 100, 200, 300: mean 400, first target 404. The hot GPU needs to lose 596 and has 899 to lend of
    // expert 0. Three GPUs could help: floor 199. GPU 1 has room for 304: takes them. Then 292 are left over two
    // (floor 146): GPU 2 has room for 204, then 88 go to GPU 3, which has 104 (floor 88).
    const given = plan('ultraep', [900, 100, 60, 40, 150, 50, 250, 50], 4);
    expect(given.gpuLoads).toEqual([404, 404, 404, 388]);
    expect(given.transfers.map(({ expert, src, dst }) => [expert, src, dst])).toEqual([
      [0, 0, 1],
      [0, 0, 2],
      [0, 0, 3],
    ]);
  });

  it('leaves a batch alone that is at the target', () => {
    const given = plan('ultraep', [10, 10, 10, 10], 2);
    expect([given.gated, given.transfers]).toEqual([true, []]);
  });

  it('does not help across nodes', () => {
    // Node 0 has 1000 and 0, node 1 has nothing.
    const given = plan({ kind: 'ultraep', keepOne: false }, [1000, 0, 0, 0], 4, 2);
    expect(given.gpuLoads.slice(2)).toEqual([0, 0]);
    expect(Math.max(...given.gpuLoads)).toBeLessThanOrEqual(505);
  });

  it('searches with the static floor where spare slots do not suffice for the first targets', () => {
    // One hot expert on eight GPUs; one spare slot each, and shares of at least 200 copies: at most 5 instances of it.
    const loads = [1000, 0, 0, 0, 0, 0, 0, 0];
    const given = plan({ kind: 'ultraep', minTokensPerReplica: 200 }, loads, 8);
    expect(Math.max(...given.gpuLoads)).toBeLessThan(200);
  });

  test.prop([fc.array(fc.nat(4000), { minLength: 8, maxLength: 8 }), fc.integer({ min: 1, max: 3 })])(
    'never raises the largest load, and uses no more slots than there are',
    (loads, spareSlots) => {
      const given = plan({ kind: 'ultraep', spareSlots, minTokensPerReplica: 16 }, loads, 4);
      const before = [0, 1, 2, 3].map((gpu) => loads[2 * gpu] + loads[2 * gpu + 1]);
      expect(Math.max(...given.gpuLoads)).toBeLessThanOrEqual(Math.max(...before));
      for (let gpu = 0; gpu < 4; gpu++) {
        expect(given.transfers.filter(({ dst }) => dst === gpu).length).toBeLessThanOrEqual(spareSlots);
      }
    },
  );
});

describe('HarMoEny, approximated', () => {
  it('moves chunks of the largest expert to the least loaded GPU, by hand', () => {
    // 100, 20, 30, 50: mean 50. Expert 0 (70) gives 30 to GPU 1, then 20 to GPU 2.
    const given = plan({ kind: 'harmoeny', minTokens: 20 }, [70, 30, 20, 0, 30, 0, 50, 0], 4);
    expect(given.gpuLoads).toEqual([50, 50, 50, 50]);
    expect(given.transfers.map(({ expert, dst }) => [expert, dst])).toEqual([
      [0, 1],
      [0, 2],
    ]);
    // Chunks below 25 are not worth fetching an expert for.
    expect(plan({ kind: 'harmoeny', minTokens: 25 }, [70, 30, 20, 0, 30, 0, 50, 0], 4).gpuLoads).toEqual([
      70, 50, 30, 50,
    ]);
  });

  test.prop([fc.array(fc.nat(4000), { minLength: 8, maxLength: 8 })])(
    'with chunks of one copy every GPU gets the mean, rounded up',
    (loads) => {
      const given = plan({ kind: 'harmoeny', minTokens: 1 }, loads, 4);
      expect(Math.max(...given.gpuLoads)).toBeLessThanOrEqual(Math.ceil(sum(loads) / 4));
    },
  );
});

describe('FasterMoE shadowing', () => {
  it('shadows experts while the largest load falls by enough, by hand', () => {
    // 600, 300, 280, …: 600 − 300 is worth it, 300 − 280 is not.
    const loads = [600, 40, 300, 20, 280, 0, 100, 60];
    const given = plan({ kind: 'fastermoe-shadow', breakEvenTokens: 50 }, loads, 4);
    expect(given.transfers.map(({ expert, src, dst }) => [expert, src, dst])).toEqual([
      [0, 0, 1],
      [0, 0, 2],
      [0, 0, 3],
    ]);
    // Every GPU computes its own 150 copies of expert 0.
    expect(given.gpuLoads).toEqual([190, 470, 430, 310]);
    expect(given.sendMatrix!.map((row, gpu) => row[gpu])).toEqual(
      given.gpuLoads.map(
        (_, gpu) => 150 + Math.floor((sum([[40], [300, 20], [280, 0], [100, 60]][gpu]) + gpu) / 4),
      ),
    );
  });

  it('stops at the first shadow that does not pay, even if a later one would', () => {
    const loads = [600, 0, 590, 0, 10, 0, 0, 0];
    expect(plan({ kind: 'fastermoe-shadow', breakEvenTokens: 50 }, loads, 4).gated).toBe(true);
  });

  it("its default is the published formula's: t_m / (3·t_c + 4·t_f)", () => {
    const [hidden, alpha, bandwidth, flops, bytes] = [1024, 2, 50e9 / 8, 11.5e12, 4];
    const move = (2 * alpha * hidden ** 2 * bytes) / bandwidth;
    const perCopy = (3 * 4 * alpha * hidden ** 2) / flops + (4 * hidden * bytes) / bandwidth;
    expect(Math.round(move / perCopy)).toBe(558);
  });
});
