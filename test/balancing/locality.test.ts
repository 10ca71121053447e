import { fc, test } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { contiguous, planLayer } from '../../src/balancing/index.js';
import { locality } from '../../src/balancing/placements/locality.js';
import type { PlacementSite } from '../../src/balancing/placements/rule.js';
import type { LayerBatch } from '../../src/routing/index.js';

const EXPERTS = 6;

/** Homes of the experts for counts [source][expert] on four GPUs in nodes of two, with two slots on the first ones. */
function homes(counts: number[][], within: 'node' | 'gpu' = 'node'): number[] {
  const batch = { layer: 0, counts: Int32Array.from(counts.flat()), tokens: null } as LayerBatch;
  const site = {
    gpus: 4,
    gpusPerNode: 2,
    experts: EXPERTS,
    weightBits: 16,
    layerIds: [0],
    placement: contiguous(4, EXPERTS, 16),
    placementMaps: new Map(),
    calibrationLayers: () => [batch],
    calibrationShare: 0.1,
  } satisfies PlacementSite;
  const [placement] = locality.start({ kind: 'locality', within }, site).place([], [site.placement], [0]);
  return [...placement!.home];
}

/** Copies of a node's tokens whose experts are on it. */
function kept(counts: number[][], gpuOf: readonly number[]): number {
  let sum = 0;
  counts.forEach((row, source) =>
    row.forEach((copies, e) => {
      if (Math.floor(source / 2) === Math.floor(gpuOf[e] / 2)) sum += copies;
    }),
  );
  return sum;
}

describe('placement locality', () => {
  it('puts experts on the node whose tokens choose them, the largest first on the emptier GPU', () => {
    // Experts 0, 2 and 4 are chosen on node 1, the others on node 0; experts 0 and 1 most.
    const row = (node: number, gpu: number) =>
      Array.from({ length: EXPERTS }, (_, e) => (e % 2 === node ? 0 : e < 2 ? 10 : 4 + gpu));
    const counts = [row(0, 0), row(0, 1), row(1, 0), row(1, 1)];
    const gpuOf = homes(counts);
    expect(gpuOf.map((gpu) => Math.floor(gpu / 2))).toEqual([1, 0, 1, 0, 1, 0]);
    for (const [large, ...others] of [
      [0, 2, 4],
      [1, 3, 5],
    ]) {
      for (const other of others)
        expect(gpuOf[other] === gpuOf[large] && gpuOf[others[0]] === gpuOf[others[1]]).toBe(false);
    }
  });

  it('is refused where nothing says where copies come from', async () => {
    const policy = { kind: 'combination', placement: 'locality', history: 'calibration' } as const;
    const batch = { gpus: 4, gpusPerNode: 2, experts: EXPERTS, loads: [1, 2, 3, 4, 5, 6] };
    await expect(Promise.resolve().then(() => planLayer(policy, batch))).rejects.toThrow(
      'found locality without',
    );
  });

  test.prop([
    fc.array(fc.array(fc.nat(50), { minLength: EXPERTS, maxLength: EXPERTS }), {
      minLength: 4,
      maxLength: 4,
    }),
  ])(
    'keeps as many copies at home as any choice of three experts per node does, with the slots of contiguous placement',
    (counts) => {
      const gpuOf = homes(counts);
      const slots = [0, 1, 2, 3].map((gpu) => gpuOf.filter((own) => own === gpu).length);
      expect(slots).toEqual(
        [0, 1, 2, 3].map((gpu) => contiguous(4, EXPERTS, 16).home.filter((own) => own === gpu).length),
      );
      let best = 0;
      for (let mask = 0; mask < 1 << EXPERTS; mask++) {
        const nodes = Array.from({ length: EXPERTS }, (_, e) => (mask >> e) & 1);
        if (nodes.filter((node) => node === 0).length !== 3) continue;
        best = Math.max(
          best,
          kept(
            counts,
            nodes.map((node) => 2 * node),
          ),
        );
      }
      expect(kept(counts, gpuOf)).toBe(best);
    },
  );
});
