import { fc, test } from '@fast-check/vitest';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { EplbLayer } from '../../src/balancing/placements/eplb-layer.js';

interface Vector {
  name: string;
  num_logical: number;
  num_replicas: number;
  num_groups: number;
  num_nodes: number;
  num_gpus: number;
  weight: number[][];
  phy2log: number[][];
  log2phy: number[][][];
  logcnt: number[][];
  metrics: { max_over_mean: number; same_gpu_duplicate_replicas: number }[];
}

const { vectors } = JSON.parse(readFileSync(new URL('../oracles/eplb.json', import.meta.url), 'utf8')) as {
  vectors: Vector[];
};

function layerOf(vector: Vector, avoidDuplicates = false): EplbLayer {
  return new EplbLayer({
    experts: vector.num_logical,
    slots: vector.num_replicas,
    groups: vector.num_groups,
    nodes: vector.num_nodes,
    gpus: vector.num_gpus,
    avoidDuplicates,
  });
}

/** Slots of every expert in the order in which its replicas were made, padded with −1. */
function slotsByExpert({ slotExpert, slotRank, count }: EplbLayer, width: number): number[][] {
  const table = Array.from(count, () => new Array<number>(width).fill(-1));
  slotExpert.forEach((expert, slot) => (table[expert][slotRank[slot]] = slot));
  return table;
}

describe('EPLB, against outputs of deepseek-ai/EPLB @ d52c72d', () => {
  it.each(vectors.map((vector) => [vector.name, vector] as const))('%s', (_, vector) => {
    const layer = layerOf(vector);
    const width = Math.max(...vector.logcnt.flat());
    vector.weight.forEach((loads, i) => {
      layer.place(loads);
      expect(Array.from(layer.slotExpert)).toEqual(vector.phy2log[i]);
      expect(Array.from(layer.count)).toEqual(vector.logcnt[i]);
      expect(slotsByExpert(layer, width)).toEqual(vector.log2phy[i]);
    });
  });
});

/** Instances that share a GPU with another of their expert, beyond the first. */
function duplicatesOf({ slotExpert }: EplbLayer, gpus: number): number {
  const perGpu = slotExpert.length / gpus;
  let duplicates = 0;
  for (let gpu = 0; gpu < gpus; gpu++) {
    duplicates += perGpu - new Set(slotExpert.subarray(gpu * perGpu, (gpu + 1) * perGpu)).size;
  }
  return duplicates;
}

function largestGpuLoad({ slotExpert, count }: EplbLayer, gpus: number, loads: readonly number[]): number {
  const perGpu = slotExpert.length / gpus;
  const gpuLoads = new Array<number>(gpus).fill(0);
  slotExpert.forEach((expert, slot) => {
    gpuLoads[Math.floor(slot / perGpu)] += loads[expert] / count[expert];
  });
  return Math.max(...gpuLoads);
}

describe('EPLB', () => {
  it('leaves 232 where the mean is 181.25: the published example of its weakness (vllm#37656)', () => {
    const loads = [600, 560, 120, 120, 20, 10, 10, 10];
    const layer = new EplbLayer({
      experts: 8,
      slots: 16,
      groups: 1,
      nodes: 1,
      gpus: 8,
      avoidDuplicates: false,
    });
    layer.place(loads);
    expect(largestGpuLoad(layer, 8, loads)).toBe(232);
  });

  it('doubles experts on a GPU as often as the original does', () => {
    for (const vector of vectors) {
      const layer = layerOf(vector);
      vector.weight.forEach((loads, i) => {
        const duplicates = duplicatesOf(layer.place(loads), vector.num_gpus);
        expect(duplicates).toBe(vector.metrics[i].same_gpu_duplicate_replicas);
      });
    }
  });

  test.prop([
    fc.constantFrom(
      [4, 8, 12, 1, 1],
      [4, 16, 24, 4, 2],
      [8, 16, 32, 2, 2],
      [8, 8, 64, 1, 1],
      [2, 6, 12, 3, 2],
    ),
    fc.array(fc.oneof(fc.nat(20), fc.nat(5000)), { minLength: 16, maxLength: 16 }),
  ])(
    'avoidDuplicates: no GPU holds an expert twice, every expert has an instance, every slot is filled',
    ([gpus, experts, slots, groups, nodes], all) => {
      const loads = all.slice(0, experts);
      const layer = new EplbLayer({ experts, slots, groups, nodes, gpus, avoidDuplicates: true }).place(
        loads,
      );
      expect(duplicatesOf(layer, gpus)).toBe(0);
      expect(new Set(layer.slotExpert).size).toBe(experts);
      const count = new Array<number>(experts).fill(0);
      layer.slotExpert.forEach((expert) => count[expert]++);
      expect(Array.from(layer.count)).toEqual(count);
    },
  );

  it('reordering uniform loads leaves all GPUs equal (invariant 8)', () => {
    const layer = new EplbLayer({
      experts: 32,
      slots: 32,
      groups: 4,
      nodes: 2,
      gpus: 8,
      avoidDuplicates: false,
    });
    const loads = new Array<number>(32).fill(7);
    layer.place(loads);
    expect(largestGpuLoad(layer, 8, loads)).toBe(28);
  });
});
