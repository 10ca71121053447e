import { flatSlots, keysOf, slotList, textOf, type MapFormat } from './placement-map.js';

/** `num_slots` and `initial_global_assignments` by layer: TensorRT-LLM's load balancer configuration (YAML). */
export const tensorrtLlmMap: MapFormat = {
  name: 'tensorrt-llm',
  summary: 'YAML with num_slots and initial_global_assignments by layer, for moe_config.load_balancer',
  matches: (content) => keysOf(content).includes('initial_global_assignments'),
  read(content) {
    const { initial_global_assignments: rows, num_slots: slots } = content as Record<string, unknown>;
    const keys = keysOf(rows);
    const bad = keys.find((key) => !/^\d+$/.test(key));
    if (keys.length === 0 || bad !== undefined) {
      throw new RangeError(
        `initial_global_assignments: found ${bad === undefined ? textOf(rows) : `key ${bad}`}, allowed: slots by layer number`,
      );
    }
    const layers = keys
      .map((key) => {
        const path = `initial_global_assignments.${key}`;
        const row = slotList((rows as Record<string, unknown>)[key], path);
        if (slots !== undefined && row.length !== slots)
          throw new RangeError(`${path}: found ${row.length} slots, allowed: num_slots = ${textOf(slots)}`);
        return { layer: Number(key), slots: { all: row } };
      })
      .sort((a, b) => a.layer - b.layer);
    return { experts: null, layers };
  },
  write({ layers }) {
    const rows = layers.map((layer) => [layer.layer, flatSlots(layer, 'tensorrt-llm')] as const);
    return [
      `num_slots: ${rows[0][1].length}`,
      'initial_global_assignments:',
      ...rows.map(([layer, slots]) => `  ${layer}: [${slots.join(', ')}]`),
      'layer_updates_per_iter: 0',
      '',
    ].join('\n');
  },
};
