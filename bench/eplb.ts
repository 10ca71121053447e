/** EPLB for every layer of DeepSeek-V3: 58 layers × 256 experts → 288 slots on 32 GPUs, warm and first call. */
import { EplbLayer } from '../src/balancing/placements/eplb-layer.js';
import { addLoads } from '../src/routing/index.js';
import { sourceOf } from './given-routing.js';
import { medianSeconds, report } from './measure.js';

const LAYERS = 58;
const experts = 256;
const gpus = 32;
const step = sourceOf(gpus, experts, 1).start().next()!;
const drawn = addLoads(step.layers[0].counts, experts, new Float64Array(experts));
// The same loads in another order in every layer.
const loads = Array.from({ length: LAYERS }, (_, layer) =>
  Float64Array.from(drawn, (__, e) => drawn[(e * 37 + layer * 11) % experts]),
);
const shape = { experts, slots: 288, groups: 8, nodes: 4, gpus };

function planAll(layer: EplbLayer): void {
  for (const own of loads) layer.place(own);
}

const start = performance.now();
planAll(new EplbLayer({ ...shape, avoidDuplicates: false }));
const first = performance.now() - start;
const layer = new EplbLayer({ ...shape, avoidDuplicates: false });
const seconds = medianSeconds(() => planAll(layer), 50);
const global = new EplbLayer({ ...shape, groups: 1, avoidDuplicates: false });
const globally = medianSeconds(() => planAll(global), 50);
const distinct = new EplbLayer({ ...shape, groups: 1, avoidDuplicates: true });
const distinctly = medianSeconds(() => planAll(distinct), 50);

report({
  name: `EPLB, ${LAYERS} layers × ${experts} experts → ${shape.slots} slots, ${gpus} GPUs, global`,
  value: globally * 1e3,
  unit: 'ms',
  target: { value: 4, better: 'less' },
  yardstick: `without duplicates ${(distinctly * 1e3).toFixed(2)} ms`,
});
report({
  name: 'the same, hierarchical on 4 nodes',
  value: seconds * 1e3,
  unit: 'ms',
  target: { value: 4, better: 'less' },
  yardstick: `first call ${first.toFixed(1)} ms`,
});
