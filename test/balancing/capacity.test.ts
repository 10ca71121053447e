import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { planLayer } from '../../src/balancing/index.js';

interface Vector {
  T: number;
  E: number;
  K: number;
  capacity_factor: number;
  drop_policy: 'probs' | 'position';
  pad_to_capacity: boolean;
  routing_probs: number[][];
  topk_ids: number[][];
  kept_per_expert: number[];
  dropped_total: number;
  rows_in_map_per_expert: number[];
  kept_map: number[][] | null;
}

const oracle = JSON.parse(readFileSync(new URL('../oracles/token-drop.json', import.meta.url), 'utf8')) as {
  vectors: Vector[];
};

describe('capacity dropping equals Megatron-LM @ d98e8a64, executed', () => {
  it.each(
    oracle.vectors.map(
      (v, i) => [`${i}: T${v.T} E${v.E} K${v.K} factor ${v.capacity_factor} ${v.drop_policy}`, v] as const,
    ),
  )('%s', (_, v) => {
    const plan = planLayer(
      {
        kind: 'capacity',
        factor: v.capacity_factor,
        order: v.drop_policy === 'probs' ? 'score' : 'position',
        pad: v.pad_to_capacity,
      },
      {
        gpus: 1,
        experts: v.E,
        tokens: {
          experts: v.topk_ids,
          weights: v.topk_ids.map((row, token) => row.map((expert) => v.routing_probs[token][expert])),
          sourceGpu: v.topk_ids.map(() => 0),
        },
      },
    );
    const kept = v.kept_per_expert.map((_, e) => plan.keptMap!.reduce((sum, row) => sum + row[e], 0));
    expect(kept).toEqual(v.kept_per_expert);
    expect(plan.dropped.flat().reduce((sum, copies) => sum + copies, 0)).toBe(v.dropped_total);
    expect(plan.sendMatrix!.flat().reduce((sum, rows) => sum + rows, 0)).toBe(
      v.rows_in_map_per_expert.reduce((sum, rows) => sum + rows, 0),
    );
    if (v.kept_map) expect(plan.keptMap).toEqual(v.kept_map);
  });
});
