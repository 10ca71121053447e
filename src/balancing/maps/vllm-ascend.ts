import { keysOf, moeNumbered, slotList, textOf, type MapFormat } from './placement-map.js';

interface AscendLayer {
  layer_id: number;
  device_list: { device_id: number; device_expert: unknown }[];
}

/** `layer_list[].device_list[].device_expert`: vllm-ascend's expert map. GPUs may have different numbers of slots. */
export const vllmAscend: MapFormat = {
  name: 'vllm-ascend',
  summary: 'JSON with device_expert by layer and device, for expert_map_path',
  matches: (content) => keysOf(content).includes('layer_list'),
  read(content) {
    const { layer_list: list } = content as { layer_list: unknown };
    if (!Array.isArray(list) || list.length === 0)
      throw new RangeError(`layer_list: found ${textOf(list)}, allowed: a list of layers`);
    const layers = (list as AscendLayer[]).map((entry, i) => {
      const path = `layer_list[${i}]`;
      if (!Array.isArray(entry?.device_list) || !Number.isInteger(entry.layer_id)) {
        throw new RangeError(
          `${path}: found ${textOf(entry)}, allowed: an object with layer_id and device_list`,
        );
      }
      const slots = [...entry.device_list]
        .sort((a, b) => a.device_id - b.device_id)
        .map((device) =>
          slotList(device.device_expert, `${path}.device_list[${device.device_id}].device_expert`),
        );
      return { layer: entry.layer_id, slots };
    });
    return { experts: null, layers: layers.sort((a, b) => a.layer - b.layer) };
  },
  write(map) {
    const layers = moeNumbered(map);
    const layerList = layers.map(({ layer, slots }) => {
      if ('all' in slots)
        throw new RangeError(`layer ${layer}: found slots without GPUs, allowed: slots by GPU`);
      return {
        layer_id: layer,
        device_count: slots.length,
        device_list: slots.map((own, gpu) => ({ device_id: gpu, device_expert: own })),
      };
    });
    return `${JSON.stringify({ moe_layer_count: layers.length, layer_list: layerList }, null, 1)}\n`;
  },
};
