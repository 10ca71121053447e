/** Placements of a layer, 256 experts on 32 GPUs, and plans of balancers that look at every batch, 64 GPUs × 256 experts. */
import { placementRules, policies, type PolicySetting } from '../src/balancing/index.js';
import type { PlacementRule } from '../src/balancing/placements/rule.js';
import { repeated } from '../src/balancing/placements/contiguous-slots.js';
import type { Policy } from '../src/balancing/policy.js';
import { policySetting } from '../test/balancing/policy-setting.js';
import { addLoads } from '../src/routing/index.js';
import { sourceOf } from './given-routing.js';
import { medianSeconds, report } from './measure.js';

const experts = 256;
const STEPS = 16;

function settingOf(gpus: number): PolicySetting {
  return policySetting(gpus, experts, { gpusPerNode: 8 });
}

const site = settingOf(32);
const [drawn] = sourceOf(32, experts, 1).start().next()!.layers;
const mean = addLoads(drawn.counts, experts, new Float64Array(experts));
// Loads differ from step to step.
const rows = Array.from({ length: STEPS }, (_, step) =>
  mean.map((load, e) => Math.round(load * (0.8 + 0.1 * ((3 * e + 7 * step) % 5)))),
);
const sum = rows[0].map((_, e) => rows.reduce((total, row) => total + row[e], 0));

function placeOnce(kind: string, calls: number, options: object = {}): number {
  const rule = placementRules.find((one) => one.kind === kind)! as unknown as PlacementRule;
  const chosen = rule.options.parse({ kind, ...options });
  const current = rule.initial?.(chosen, site) ?? repeated(rule.slots(chosen, site), site);
  const placer = rule.start(chosen, site);
  return medianSeconds(() => placer.place([{ sum, rows }], [current]), calls);
}

for (const [kind, calls, options] of [
  ['ascend-default', 5, {}],
  ['ascend-swift', 5, {}],
  ['flashlb', 1, { updateBelow: 1 }],
  ['spare-replicas', 50, {}],
] as const) {
  report({
    name: `placement ${kind}, one layer, ${experts} experts on 32 GPUs${kind === 'flashlb' ? `, ${STEPS} steps` : ''}`,
    value: placeOnce(kind, calls, options) * 1e3,
    unit: 'ms',
    target: null,
    yardstick: '',
  });
}

const wide = settingOf(64);
const { counts } = sourceOf(64, experts, 1).start().next()!.layers[0];
const loads = addLoads(counts, experts, new Float64Array(experts));
const view = { step: 0, layer: 0, counts, loads, tokensBySource: null, tokens: null, seed: 1 };

for (const kind of ['ultraep', 'harmoeny', 'feplb', 'moonep', 'probe']) {
  const policy = policies.find((one) => one.kind === kind)! as unknown as Policy;
  const state = policy.start(policy.options.parse({ kind }), wide);
  let step = 0;
  report({
    name: `plan of ${kind}, 64 GPUs × ${experts} experts`,
    value: medianSeconds(() => policy.decide(state, { ...view, step: step++ }), 20) * 1e6,
    unit: 'µs',
    target: null,
    yardstick: '',
  });
}
