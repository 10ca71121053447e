import { flatSlots, keysOf, slotList, type MapFormat } from './placement-map.js';
import { rowsAsJson } from './sglang.js';

/** `{"3": [slot], "4": …}`: the static map per layer of vLLM's `expert_map_path` (vllm#53022, not merged). */
export const vllm: MapFormat = {
  name: 'vllm',
  summary:
    'JSON with the expert of every slot by layer number, for expert_map_path (vllm#53022, an open proposal)',
  matches(content) {
    const keys = keysOf(content);
    return keys.length > 0 && keys.every((key) => /^\d+$/.test(key));
  },
  read: (content) => ({
    experts: null,
    layers: Object.entries(content as Record<string, unknown>)
      .map(([layer, row]) => ({ layer: Number(layer), slots: { all: slotList(row, layer) } }))
      .sort((a, b) => a.layer - b.layer),
  }),
  write: ({ layers }) =>
    rowsAsJson(
      '{',
      layers.map((layer) => `"${layer.layer}": ${JSON.stringify(flatSlots(layer, 'vllm'))}`),
      '}',
    ),
};
