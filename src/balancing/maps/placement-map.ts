/** The experts of every slot, layer by layer, as an engine's file holds them. */
export interface PlacementMap {
  layers: readonly LayerMap[];
  /** Logical experts, where the file says how many there are. */
  experts: number | null;
  /** The model's layers without experts, which come first, and those with; absent where a file or nobody says. */
  model?: { denseLayers: number; moeLayers: number };
}

/** One layer of a map. */
export interface LayerMap {
  /** The number that the file gives the layer, or its place in the file; of a map to write, the model's own. */
  layer: number;
  /** Experts by GPU; where the file knows no GPUs, one list of all slots, which GPUs share equally. */
  slots: readonly (readonly number[])[] | { all: readonly number[] };
}

/** A file format of an engine. */
export interface MapFormat {
  name: string;
  /** One line for documentation and messages. */
  summary: string;
  /** Whether parsed JSON or YAML is of this format. */
  matches(content: unknown): boolean;
  /** @throws RangeError of the form `path: found …, allowed: …` */
  read(content: unknown): PlacementMap;
  /** The text of a file. @throws RangeError where the format cannot say what the map says */
  write(map: PlacementMap): string;
}

/** @throws RangeError where a value is not a list of whole numbers ≥ 0 */
export function slotList(value: unknown, path: string): number[] {
  if (!Array.isArray(value) || value.length === 0)
    throw new RangeError(`${path}: found ${textOf(value)}, allowed: a list with the expert of every slot`);
  const bad = value.findIndex((expert) => !(Number.isInteger(expert) && (expert as number) >= 0));
  if (bad >= 0)
    throw new RangeError(`${path}[${bad}]: found ${textOf(value[bad])}, allowed: a whole number ≥ 0`);
  return value as number[];
}

/** The layers of a map to write as engines number them that count MoE layers alone. */
export function moeNumbered({ layers, model }: PlacementMap): LayerMap[] {
  const first = model?.denseLayers ?? 0;
  return layers.map((own) => ({ ...own, layer: Math.max(0, own.layer - first) }));
}

/** The slots of a layer in one row, for formats that know no GPUs. @throws RangeError where GPUs differ in slots */
export function flatSlots({ layer, slots }: LayerMap, format: string): readonly number[] {
  if ('all' in slots) return slots.all;
  const most = Math.max(...slots.map((own) => own.length));
  const fewest = Math.min(...slots.map((own) => own.length));
  if (most !== fewest) {
    throw new RangeError(
      `layer ${layer}: found ${fewest} to ${most} slots per GPU, allowed: equally many, or --emit vllm-ascend, the ` +
        `format that can say it (${format} cannot)`,
    );
  }
  return slots.flat();
}

/** A value as a message shows it. */
export function textOf(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

/** The keys of an object; none of anything else. */
export function keysOf(content: unknown): string[] {
  return typeof content === 'object' && content !== null && !Array.isArray(content)
    ? Object.keys(content)
    : [];
}
