import { z } from 'zod';
import type { LoadHistory } from '../history/estimator.js';
import { placementOfSlots } from '../placement.js';
import {
  layerByLayer,
  oneSpareSlotPerGpu,
  refuseGroups,
  refuseSlots,
  slotsWithSpare,
  type PlacementRule,
  type PlacementSite,
} from './rule.js';

const options = z.strictObject({
  kind: z.literal('eplb-steps'),
  slots: slotsWithSpare,
  groups: z
    .int()
    .min(1)
    .default(1)
    .describe(
      'Groups of consecutive experts. A multiple of the nodes: groups stay on one node; else: global.',
    ),
});

type Options = z.output<typeof options>;

/** What breaks ties between experts of equal load: as much per number. */
const TIE = 1e-4;

/**
 * SGLang's `deepseek_vec`: EPLB that looks at the steps of the history one by one. A replica goes where the sum over
 * steps of the largest load per instance falls most, rather than where the largest sum does; instances are then
 * sorted by their load over all steps and dealt to GPUs in a snake. Groups are packed onto nodes as EPLB does.
 * Arithmetic is in doubles where SGLang's is in float32.
 */
export const eplbSteps: PlacementRule<Options, z.input<typeof options>> = {
  kind: 'eplb-steps',
  summary: "SGLang's per-step EPLB (deepseek_vec): lowers the sum over steps of the largest load",
  options,
  adapts: true,
  slots: ({ slots }, site) => slots ?? oneSpareSlotPerGpu(site),
  refusal: (chosen, site) =>
    refuseGroups(chosen.groups, site) ?? refuseSlots(eplbSteps.slots(chosen, site), site, true),
  start(chosen, site) {
    const { gpus, experts, weightBits } = site;
    const slots = eplbSteps.slots(chosen, site);
    const nodes = nodesOf(chosen, site);
    return layerByLayer(({ sum, rows }) => {
      const slotExpert = new Int32Array(slots);
      const byNode = packGroups(sum, chosen.groups, nodes);
      for (let node = 0; node < nodes; node++) {
        const own = byNode.slice((node * experts) / nodes, ((node + 1) * experts) / nodes);
        const instances = replicate(own, rows, slots / nodes);
        slotExpert.set(snake(instances, sum, gpus / nodes), (node * slots) / nodes);
      }
      return placementOfSlots(slotExpert, gpus, experts, weightBits);
    });
  },
};

/** Nodes that groups are packed onto; 1 where they do not divide over them. */
function nodesOf({ groups }: Options, { gpus, gpusPerNode }: PlacementSite): number {
  const nodes = gpus / gpusPerNode;
  return groups % nodes === 0 ? nodes : 1;
}

/** Experts in node order: groups by falling load, each to the node with the least load that has room. */
function packGroups(loads: Float64Array, groups: number, nodes: number): number[] {
  const size = loads.length / groups;
  const groupLoads = Array.from({ length: groups }, (_, group) =>
    loads.subarray(group * size, (group + 1) * size).reduce((sum, load) => sum + load, 0),
  );
  const packed: number[][] = Array.from({ length: nodes }, () => []);
  const nodeLoads = new Float64Array(nodes);
  for (const group of [...groupLoads.keys()].sort((a, b) => groupLoads[b] - groupLoads[a] || a - b)) {
    let best = -1;
    for (let node = 0; node < nodes; node++) {
      if (packed[node].length < groups / nodes && (best < 0 || nodeLoads[node] < nodeLoads[best]))
        best = node;
    }
    packed[best].push(group);
    nodeLoads[best] += groupLoads[group];
  }
  return packed.flat().flatMap((group) => Array.from({ length: size }, (_, i) => group * size + i));
}

/** Experts of all instances: `own` once each, then the replicas in the order in which they were made. */
function replicate(own: readonly number[], rows: LoadHistory['rows'], slots: number): number[] {
  const instances = [...own];
  const count = new Map(own.map((expert) => [expert, 1]));
  /** Largest loads over all steps if the expert of that place got the next replica: the change against none. */
  const change = new Float64Array(own.length);
  while (instances.length < slots) {
    change.fill(0);
    for (const row of rows) {
      let most = -Infinity;
      let at = 0;
      let second = -Infinity;
      own.forEach((expert, i) => {
        const load = (row[expert] + TIE * expert) / count.get(expert)!;
        if (load > most) {
          second = most;
          most = load;
          at = i;
        } else if (load > second) second = load;
      });
      const relieved = row[own[at]] / (count.get(own[at])! + 1);
      change[at] += Math.max(second, relieved) - most;
    }
    let best = 0;
    for (let i = 1; i < own.length; i++) if (change[i] < change[best]) best = i;
    const expert = own[best];
    instances.push(expert);
    count.set(expert, count.get(expert)! + 1);
  }
  return instances;
}

/** Instances by falling load, dealt to GPUs from left to right and back: experts of slots in GPU order. */
function snake(instances: readonly number[], loads: Float64Array, gpus: number): Int32Array {
  const count = new Map<number, number>();
  for (const expert of instances) count.set(expert, (count.get(expert) ?? 0) + 1);
  const share = instances.map((expert) => loads[expert] / count.get(expert)!);
  const order = [...instances.keys()].sort((a, b) => share[b] - share[a] || a - b);
  const perGpu = instances.length / gpus;
  const slotExpert = new Int32Array(instances.length);
  order.forEach((made, place) => {
    const round = Math.floor(place / gpus);
    const gpu = round % 2 === 0 ? place % gpus : gpus - 1 - (place % gpus);
    slotExpert[gpu * perGpu + round] = instances[made];
  });
  return slotExpert;
}
