import { z } from 'zod';
import type { LayerMap, PlacementMap } from '../maps/placement-map.js';
import { placementOf, placementOfSlots, type Placement } from '../placement.js';
import type { Refusal } from '../policy.js';
import type { PlacementRule, PlacementSite } from './rule.js';

const options = z.strictObject({
  kind: z.literal('file'),
  path: z
    .string()
    .min(1)
    .describe('A placement map of SGLang, vLLM, TensorRT-LLM, vllm-ascend or omni-infer (.npz).'),
});

type Options = z.output<typeof options>;

/**
 * The placement that a file says, layer by layer: by the model's numbers where the file counts layers without experts
 * too, by the layers' numbers where it has those that are simulated, else by their places. A map of one layer serves
 * all. GPUs may have different numbers of slots.
 */
export const fromFile: PlacementRule<Options, z.input<typeof options>> = {
  kind: 'file',
  summary: "an engine's placement map, as its file says",
  options,
  adapts: false,
  slots: ({ path }, site) => {
    const layer = site.placementMaps.get(path)?.layers[0];
    return layer === undefined ? site.experts : slotsOf(layer).length;
  },
  refusal,
  start: ({ path }, site) => ({
    place: (loads) =>
      loads.map((_, layer) => placementFrom(mapOf(site.placementMaps.get(path)!, layer, site)!, site)),
  }),
};

function slotsOf({ slots }: LayerMap): readonly number[] {
  return 'all' in slots ? slots.all : slots.flat();
}

/** The map's layer for a simulated one. */
function mapOf({ layers }: PlacementMap, layer: number, site: PlacementSite): LayerMap | undefined {
  const { layerIds, layerNumbers = layerIds, denseLayers = 0, moeLayers = 0 } = site;
  if (layers.length === 1) return layers[0];
  // A map that counts the layers without experts too, as SGLang's and TensorRT-LLM's do.
  const countsAll =
    denseLayers > 0 &&
    (layers.length === denseLayers + moeLayers || layers.every((own) => own.layer >= denseLayers));
  if (countsAll) return layers.find((own) => own.layer === layerNumbers[layer]);
  const known = layerIds.every((id) => layers.some((own) => own.layer === id));
  return known ? layers.find((own) => own.layer === layerIds[layer]) : layers[layerIds[layer]];
}

function placementFrom({ slots }: LayerMap, { gpus, experts, weightBits }: PlacementSite): Placement {
  return 'all' in slots
    ? placementOfSlots(slots.all, gpus, experts, weightBits)
    : placementOf(slots, experts, weightBits);
}

function refusal({ path }: Options, site: PlacementSite): Refusal | null {
  const { gpus, experts, layerIds } = site;
  const map = site.placementMaps.get(path);
  const refuse = (found: string, allowed: string) => ({
    option: 'path',
    found: `${path}, ${found}`,
    allowed,
  });
  if (map === undefined) return refuse('which was not opened', 'a file of a scenario (epsim run)');
  if (map.experts !== null && map.experts !== experts)
    return refuse(`a map of ${map.experts} experts`, `a map of the model's ${experts}`);
  for (let layer = 0; layer < layerIds.length; layer++) {
    const own = mapOf(map, layer, site);
    if (own === undefined) {
      return refuse(
        `a map of ${map.layers.length} layers`,
        `one that has layer ${layerIds[layer]}, or workload.layer from 0 to ${map.layers.length - 1}`,
      );
    }
    const { slots } = own;
    if (!('all' in slots) && slots.length !== gpus)
      return refuse(`a map for ${slots.length} GPUs`, `a map for ${gpus}, or cluster.gpus: ${slots.length}`);
    const all = slotsOf(own);
    if ('all' in slots && all.length % gpus !== 0)
      return refuse(
        `with ${all.length} slots in layer ${own.layer}`,
        `a number of slots that ${gpus} GPUs share equally`,
      );
    const outside = all.find((expert) => expert >= experts);
    if (outside !== undefined)
      return refuse(`with expert ${outside} in layer ${own.layer}`, `experts 0 to ${experts - 1}`);
    const held = new Set(all);
    if (held.size < experts) {
      const missing = Array.from({ length: experts }, (_, e) => e).find((e) => !held.has(e));
      return refuse(`without expert ${missing} in layer ${own.layer}`, 'a slot for every expert');
    }
  }
  return null;
}
