import { flatSlots, keysOf, slotList, textOf, type MapFormat, type PlacementMap } from './placement-map.js';

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
  write: (map) =>
    rowsAsJson(
      '{"physical_to_logical_map": [',
      allLayers(map).map((slots) => JSON.stringify(slots)),
      ']}',
    ),
};

/**
 * A row for every layer of the model, those without experts too, since SGLang looks rows up by the model's layer
 * numbers; layers that the map does not have are given experts in order, as its own `trivial` does.
 */
function allLayers({ layers, model, experts }: PlacementMap): readonly (readonly number[])[] {
  const rows = layers.map((layer) => flatSlots(layer, 'sglang'));
  if (model === undefined || experts === null) return rows;
  const last = Math.max(...layers.map(({ layer }) => layer));
  const trivial = Array.from({ length: rows[0].length }, (_, slot) => slot % experts);
  return Array.from({ length: Math.max(model.denseLayers + model.moeLayers, last + 1) }, (_, number) => {
    const at = layers.findIndex(({ layer }) => layer === number);
    return at < 0 ? trivial : rows[at];
  });
}

/** JSON with one row of numbers a line. */
export function rowsAsJson(before: string, rows: readonly string[], after: string): string {
  return `${before}\n${rows.map((row) => `  ${row}`).join(',\n')}\n${after}\n`;
}
