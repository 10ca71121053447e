/** The exact linear program of a batch: 64 GPUs × 320 slots, a placement by EPLB and loads that have drifted from it. */
import { BalancedFlow } from '../src/balancing/dispatch/balanced-flow.js';
import { lp } from '../src/balancing/dispatch/lp.js';
import { placementOfSlots } from '../src/balancing/placement.js';
import { EplbLayer } from '../src/balancing/placements/eplb-layer.js';
import { SlotCopies } from '../src/balancing/plan.js';
import type { PolicySetting } from '../src/balancing/policy.js';
import { addLoads } from '../src/routing/index.js';
import { sourceOf } from './given-routing.js';
import { medianSeconds, report } from './measure.js';

const gpus = 64;
const experts = 256;
const slots = 320;
const { counts } = sourceOf(gpus, experts, 1).start().next()!.layers[0];
const loads = addLoads(counts, experts, new Float64Array(experts));
// Loads have drifted since the placement was planned.
const drift = [0.8, 1.2, 1, 0.9, 1.1];
const planned = loads.map((load, e) => load * drift[e % drift.length]);
const layer = new EplbLayer({ experts, slots, groups: 1, nodes: 1, gpus, avoidDuplicates: false }).place(
  planned,
);
const placement = placementOfSlots(layer.slotExpert, gpus, experts, 16);
const flow = new BalancedFlow(placement);
const even = Math.max(...flow.fill(loads, true).gpuLoads);
const best = flow.balance(true);
const seconds = medianSeconds(() => void flow.fill(loads, true).balance(true), 500);

const dispatcher = lp.start({ kind: 'lp' }, { gpus, gpusPerNode: 8, experts } as PolicySetting);
const into = new SlotCopies(gpus);
const view = { step: 0, layer: 0, counts, loads, tokensBySource: null, tokens: null, seed: 1 };
const whole = medianSeconds(() => dispatcher.divide(placement, view, into.reset(slots)), 200);

report({
  name: `LP dispatch, ${gpus} GPUs × ${slots} slots`,
  value: seconds * 1e6,
  unit: 'µs',
  target: { value: 2000, better: 'less' },
  yardstick: `largest GPU load ${even} by the greedy start, ${best} by the program`,
});
report({
  name: 'the same with every source’s copies divided',
  value: whole * 1e6,
  unit: 'µs',
  target: { value: 2000, better: 'less' },
  yardstick: '',
});
