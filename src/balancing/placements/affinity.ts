import { z } from 'zod';
import { addLoads, type LayerBatch } from '../../routing/index.js';
import { placementOf, type Placement } from '../placement.js';
import type { Refusal } from '../policy.js';
import {
  affineLayer,
  keptShare,
  packedLayer,
  transitionsBetween,
  type AffinityLayer,
} from './affinity-layers.js';
import type { PlacementRule, PlacementSite } from './rule.js';

const options = z.strictObject({
  kind: z.literal('affinity'),
  within: z
    .enum(['gpu', 'node'])
    .default('gpu')
    .describe('Where experts of a token should be together: one GPU or one node.'),
  balance: z
    .number()
    .min(1)
    .default(1.1)
    .describe('Largest GPU load over the mean that is allowed, where packing can reach it.'),
  exactUpTo: z
    .int()
    .min(0)
    .default(128)
    .describe(
      'Layers of at most so many experts × GPUs are solved as an integer program, larger ones by greed.',
    ),
});

type Options = z.output<typeof options>;

/** What was planned, and what it keeps together. */
interface Plan {
  placements: Placement[];
  /** Pairs of layers by how the later one was placed. */
  how: Map<AffinityLayer['how'], number>;
  solver: string | null;
  /** Share of transitions that stay at a place, and with experts in order. */
  kept: number;
  inOrder: number;
}

/** Plans by the calibration that they come from: a policy is started once per replicate. */
const known = new WeakMap<object, Map<string, Plan>>();

/**
 * Inter-layer affinity (ExFlow): experts of a layer go where those of the layer before are that the same tokens chose.
 * Layers are placed one after the other, the first of a row of consecutive ones packed by load, every other one as an
 * integer program given the one before, or by greed. No expert has a replica.
 */
export const affinity: PlacementRule<Options, z.input<typeof options>> = {
  kind: 'affinity',
  summary: 'experts that the same tokens choose in consecutive layers on one GPU or node (ExFlow)',
  options,
  adapts: true,
  offline: true,
  slots: (_, { experts }) => experts,
  refusal,
  notes(chosen, site) {
    const { how, solver, kept, inOrder } = planOf(chosen, site);
    const named = {
      exact: `${solver}, exact`,
      'best found': `${solver}, best found`,
      greedy: 'greed',
      packed: '',
    };
    const ways = [...how].map(([way, layers]) => `${layers} by ${named[way]}`).join(', ');
    const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
    return [
      `placement affinity: layers placed given the one before: ${ways}; ${percent(kept)} of the calibration's pairs of ` +
        `choices in consecutive layers stay on one ${chosen.within === 'gpu' ? 'GPU' : 'node'}, ${percent(inOrder)} with experts in order`,
      'placement affinity: the runtime brings every copy back to its source between layers, so that no byte becomes ' +
        'local by it; dispatch and combine are as simulated',
    ];
  },
  start(chosen, site) {
    const { placements } = planOf(chosen, site);
    return { place: (_, current, layers = [...current.keys()]) => layers.map((layer) => placements[layer]) };
  },
};

function refusal(
  { within }: Options,
  { hasTokens, layerIds, gpus, gpusPerNode }: PlacementSite,
): Refusal | null {
  if (!hasTokens) {
    return {
      option: '',
      found: 'affinity, but the routing holds counts without tokens',
      allowed: 'a recording of tokens, or another placement',
    };
  }
  if (within === 'node' && gpus <= gpusPerNode) {
    return { option: 'within', found: `node, where all ${gpus} GPUs are on one`, allowed: 'gpu' };
  }
  if (layerIds.some((_layer, i) => follows(layerIds, i))) return null;
  return {
    option: '',
    found: `affinity with layer${layerIds.length > 1 ? 's' : ''} ${layerIds.join(', ')}, of which none follows another`,
    allowed: 'consecutive layers (workload.layer: "all")',
  };
}

function follows(layerIds: readonly number[], i: number): boolean {
  return i > 0 && layerIds[i] === layerIds[i - 1] + 1;
}

function planOf(chosen: Options, site: PlacementSite): Plan {
  const { calibrationLayers, calibrationShare } = site;
  let plans = known.get(calibrationLayers!);
  if (!plans) known.set(calibrationLayers!, (plans = new Map<string, Plan>()));
  const key = JSON.stringify([chosen, calibrationShare, site.gpus, site.solver?.name]);
  let plan = plans.get(key);
  if (!plan) plans.set(key, (plan = makePlan(chosen, site, calibrationLayers!(calibrationShare!))));
  return plan;
}

function makePlan(
  { within, balance, exactUpTo }: Options,
  { gpus, gpusPerNode, experts, layerIds, weightBits, placement, solver }: PlacementSite,
  batches: readonly LayerBatch[],
): Plan {
  const shape = { experts, gpus, gpusPerPlace: within === 'gpu' ? 1 : gpusPerNode, balance };
  const exact = experts * gpus <= exactUpTo ? (solver ?? null) : null;
  const how: Plan['how'] = new Map();
  const layers: AffinityLayer[] = [];
  let kept = 0;
  let inOrder = 0;
  let pairsOfLayers = 0;
  batches.forEach((batch, i) => {
    const loads = addLoads(batch.counts, experts, new Float64Array(experts));
    if (!follows(layerIds, i)) {
      layers.push({ gpuOf: packedLayer(loads, shape), how: 'packed' });
      return;
    }
    const pairs = transitionsBetween(batches[i - 1], batch, experts);
    const before = layers[i - 1].gpuOf;
    const layer = affineLayer(pairs, before, loads, shape, exact);
    layers.push(layer);
    how.set(layer.how, (how.get(layer.how) ?? 0) + 1);
    kept += keptShare(pairs, before, layer.gpuOf, shape.gpusPerPlace);
    inOrder += keptShare(pairs, placement.home, placement.home, shape.gpusPerPlace);
    pairsOfLayers++;
  });
  const placements = layers.map(({ gpuOf }) => {
    const slots: number[][] = Array.from({ length: gpus }, () => []);
    gpuOf.forEach((gpu, expert) => slots[gpu].push(expert));
    return placementOf(slots, experts, weightBits);
  });
  return {
    placements,
    how,
    solver: exact && exact.name,
    kept: kept / pairsOfLayers,
    inOrder: inOrder / pairsOfLayers,
  };
}
