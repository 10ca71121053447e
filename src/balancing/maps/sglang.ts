import { flatSlots, keysOf, slotList, textOf, type MapFormat } from './placement-map.js';

/** `{"physical_to_logical_map": [layer][slot]}`: SGLang's `--init-expert-location`, and vLLM's dumps of loads. */
export const sglang: MapFormat = {
  name: 'sglang',
  summary: 'JSON with physical_to_logical_map [layer][slot], for --init-expert-location',
  matches: (content) => keysOf(content).includes('physical_to_logical_map'),
  read(content) {
    const { physical_to_logical_map: rows } = content as { physical_to_logical_map: unknown };
    if (!Array.isArray(rows) || rows.length === 0) {
      throw new RangeError(
        `physical_to_logical_map: found ${textOf(rows)}, allowed: a list of slots for every layer`,
      );
    }
    return {
      experts: null,
      layers: rows.map((row, layer) => ({
        layer,
        slots: { all: slotList(row, `physical_to_logical_map[${layer}]`) },
      })),
    };
  },
  write: ({ layers }) =>
    rowsAsJson(
      '{"physical_to_logical_map": [',
      layers.map((layer) => JSON.stringify(flatSlots(layer, 'sglang'))),
      ']}',
    ),
};

/** JSON with one row of numbers a line. */
export function rowsAsJson(before: string, rows: readonly string[], after: string): string {
  return `${before}\n${rows.map((row) => `  ${row}`).join(',\n')}\n${after}\n`;
}
